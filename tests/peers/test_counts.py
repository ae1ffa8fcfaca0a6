"""Parameter counts that were published, or counted on the official code."""

import pytest

from tests.models.support import shapes_only
from tests.peers.test_contract import parameters


@pytest.mark.parametrize(
    ("name", "published"), [("condconv_resnet18", 81.35e6), ("dyconv_resnet18", 45.47e6)]
)
def test_count_is_the_published_one_as_far_as_it_is_known(name: str, published: float) -> None:
    assert parameters(shapes_only(name)) == pytest.approx(published, rel=0.005)
