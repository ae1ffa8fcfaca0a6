"""Accuracy of several networks over seeds, and what the differences are worth.

Two networks are compared seed by seed: the same seed gives both the same order and augmentation of
images, so the difference within a seed has less noise than that of two means. The test is Student's
paired t (two-sided), which takes the differences to be normal; with three seeds it can only see
differences that are large against their spread. Over several networks its p-values are not
corrected for their number. Differences are taken in whole images, so that rounding makes none.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from kdna_zoo.analysis.accuracy.runs import Run
from kdna_zoo.errors import UserError, did_you_mean

CONFIDENCE = 0.95
COLUMNS = ("network", "parameters", "seeds (n)", "top-1 %", "difference", "p")  # of `as_cells`


def caveat(comparisons: int) -> str:
    """Say what the p-values of so many comparisons are, and what they are not."""
    corrected = f", not corrected for the {comparisons} comparisons" if comparisons > 1 else ""
    return (
        f"p: Student's paired t-test{corrected}; a few seeds show only differences that are large"
        " against their spread"
    )


@dataclass(frozen=True)
class Difference:
    """A network's top-1 minus the reference's, over the seeds that both have.

    Attributes:
        seeds: Those seeds.
        mean: Mean of the differences, as a fraction.
        margin: Half the width of the 95 % confidence interval; None of a single seed, or where all
            differences are the same, which says nothing of their spread.
        p: Probability of a mean as far from 0 if there were no difference; None as `margin`.
    """

    seeds: tuple[int, ...]
    mean: float
    margin: float | None
    p: float | None


@dataclass(frozen=True)
class Accuracy:
    """One network's runs.

    Attributes:
        network: Its name, with its arguments.
        parameters: How many it has.
        top1: Accuracy by seed, as fractions.
        difference: To the reference; None for the reference, and where they share no seed.
    """

    network: str
    parameters: int
    top1: dict[int, float]
    difference: Difference | None

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.mean(self.top1.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None of a single one."""
        return statistics.stdev(self.top1.values()) if len(self.top1) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain JSON types."""
        d = self.difference
        return {
            "network": self.network,
            "parameters": self.parameters,
            "top1": {str(seed): value for seed, value in self.top1.items()},
            "mean": self.mean,
            "deviation": self.deviation,
            "difference": d and {"seeds": d.seeds, "mean": d.mean, "margin": d.margin, "p": d.p},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Accuracy":
        """Make what `to_dict` wrote; other keys are passed over."""
        d = data["difference"]
        found = d and Difference(tuple(d["seeds"]), d["mean"], d["margin"], d["p"])
        top1 = {int(seed): value for seed, value in data["top1"].items()}
        return cls(data["network"], data["parameters"], top1, found)


def compare_accuracy(runs: Sequence[Run], reference: str | None = None) -> list[Accuracy]:
    """Gather runs by network, and compare each network with one of them.

    Args:
        runs: All with the same data, epochs and batch.
        reference: The network to compare with; None: that of the first run.

    Raises:
        UserError: If the runs cannot be compared, or the reference is not among them.
    """
    _check_setting(runs)
    top1: dict[str, dict[int, float]] = {}
    for run in runs:
        seeds = top1.setdefault(run.network, {})
        if run.seed in seeds:
            raise UserError(
                f"two runs of {run.network} have the seed {run.seed}, one of them in {run.source}:"
                " name the runs one by one"
            )
        seeds[run.seed] = run.top1
    reference = reference or runs[0].network
    if reference not in top1:
        hint = did_you_mean(reference, top1, f"there are {', '.join(top1)}")
        raise UserError(f"no run is of {reference}; {hint}")
    images = int(runs[0].setting["images"])
    parameters = {run.network: run.parameters for run in runs}
    return [
        Accuracy(
            network,
            parameters[network],
            dict(sorted(seeds.items())),
            None if network == reference else paired_difference(seeds, top1[reference], images),
        )
        for network, seeds in top1.items()
    ]


def paired_difference(
    ours: dict[int, float], theirs: dict[int, float], images: int
) -> Difference | None:
    """Compare two networks over the seeds that both have; None where they share none.

    Args:
        ours: Top-1 by seed, as fractions.
        theirs: The reference's.
        images: How many images each was measured on.
    """
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if not seeds:
        return None
    counts = [round(ours[seed] * images) - round(theirs[seed] * images) for seed in seeds]
    mean = statistics.mean(counts) / images
    if max(counts) == min(counts):  # of a single seed too
        return Difference(seeds, mean, None, None)
    test = stats.ttest_1samp([count / images for count in counts], 0.0)
    low, high = test.confidence_interval(CONFIDENCE)
    return Difference(seeds, mean, float(high - low) / 2, float(test.pvalue))


def _check_setting(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        for key, value in run.setting.items():
            if value != first.setting[key]:
                raise UserError(
                    f"the runs cannot be compared: {key} is {first.setting[key]} in {first.source}"
                    f" and {value} in {run.source}"
                )


def as_cells(row: Accuracy, reference: str) -> tuple[str, ...]:
    """Write a network's figures for a table, in percent and percentage points.

    Args:
        row: The network.
        reference: The one that it was compared with.
    """
    spread = f" ± {100 * row.deviation:.2f}" if row.deviation is not None else ""
    return (
        row.network,
        f"{row.parameters:,}",
        f"{', '.join(map(str, row.top1))} ({len(row.top1)})",
        f"{100 * row.mean:.2f}{spread}",
        *_difference_cells(row, reference),
    )


def _difference_cells(row: Accuracy, reference: str) -> tuple[str, str]:
    found = row.difference
    if found is None:
        return ("" if row.network == reference else "no common seed"), ""
    mean = f"{100 * found.mean:+.2f}"
    if found.margin is None or found.p is None:
        return f"{mean} ({'one seed' if len(found.seeds) == 1 else 'in each seed'})", ""
    return f"{mean} ± {100 * found.margin:.2f}", f"{found.p:.3f}" if found.p >= 5e-4 else "<0.001"
