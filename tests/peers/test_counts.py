"""Parameter counts that were published, or counted on the official code."""

import pytest

from tests.models.support import shapes_only
from tests.peers.test_contract import parameters


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("condconv_resnet18", 81.35e6),
        ("dyconv_resnet18", 45.47e6),
        ("kw_resnet50", 28.05e6),
    ],
)
def test_count_is_the_published_one_as_far_as_it_is_known(name: str, published: float) -> None:
    assert parameters(shapes_only(name)) == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("odconv_resnet18", 11_943_944),
        ("odconv4x_resnet18", 44_901_640),
        ("kw_resnet18", 11_932_148),
    ],
)
def test_count_is_the_official_codes(name: str, counted: int) -> None:
    assert parameters(shapes_only(name)) == counted


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("odconv_resnet50", 28.64e6),
        ("odconv_mobilenetv2", 4.94e6),
        ("odconv4x_mobilenetv2", 11.51e6),
        ("kwhalf_resnet18", 7.43e6),
        ("kw4x_resnet18", 45.86e6),
        ("kwhalf_mobilenetv2", 2.65e6),
        ("kw_mobilenetv2", 5.17e6),
        ("kw4x_mobilenetv2", 11.38e6),
        ("odconv_mobilenetv2_050", 2.43e6),
        ("odconv4x_mobilenetv2_050", 4.44e6),
        ("kwhalf_mobilenetv2_050", 1.47e6),
        ("kw_mobilenetv2_050", 2.85e6),
        ("kw4x_mobilenetv2_050", 4.65e6),
    ],
)
def test_count_is_that_of_the_official_table(name: str, published: float) -> None:
    """Two decimals of millions, from the README of each official repository."""
    assert parameters(shapes_only(name)) == pytest.approx(published, abs=0.005e6)
