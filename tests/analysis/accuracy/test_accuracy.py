"""Differences between networks over the seeds that both have."""

import pytest

from kdna_zoo.analysis.accuracy.accuracy import Difference, caveat, paired_difference


def test_paired_difference() -> None:
    """Against the textbook: t = mean / (s / sqrt(n)), here 2 / (1 / sqrt(3)) = 3.464, p = 0.0742.

    The interval is mean +- 4.3027 s / sqrt(n), with the quantile of two degrees of freedom.
    """
    found = paired_difference({0: 0.91, 1: 0.92, 2: 0.93, 7: 0.5}, {2: 0.90, 1: 0.90, 0: 0.90}, 100)
    assert found is not None
    assert found.margin is not None
    assert found.seeds == (0, 1, 2)
    assert found.mean == pytest.approx(0.02)
    assert found.p == pytest.approx(0.0742, abs=1e-4)
    assert found.margin == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)
    one = paired_difference({0: 0.5}, {0: 0.25, 1: 0.3}, 100)
    assert one is not None
    assert (one.mean, one.margin, one.p) == (0.25, None, None)
    ours, theirs = {0: 0.9305999875, 1: 0.8100000023}, {0: 0.9205999970, 1: 0.8000000119}
    same = paired_difference(ours, theirs, 10_000)  # by 100 images each, but for float32's rounding
    assert same == Difference((0, 1), 0.01, None, None)
    assert paired_difference({0: 0.5}, {1: 0.5}, 100) is None


def test_only_several_comparisons_want_a_correction() -> None:
    assert "not corrected for the 12 comparisons" in caveat(12)
    assert "corrected" not in caveat(1)
