"""What the layers ask of torch's private parts is still there, and still private."""

import torch
from torch.autograd import forward_ad
from torch.func import grad, vmap
from torch.utils.flop_counter import FlopCounterMode

from kdna_zoo.layers.compat import is_transformed_or_watched


def test_it_is_told_of_transforms_and_modes() -> None:
    seen = []

    def note(x: torch.Tensor) -> torch.Tensor:
        seen.append(is_transformed_or_watched())
        return x.square().sum()

    note(torch.ones(2))
    grad(note)(torch.ones(2))
    vmap(note)(torch.ones(2, 2))
    with FlopCounterMode(display=False):
        note(torch.ones(2))
    with forward_ad.dual_level():
        note(torch.ones(2))
    with torch.device("cpu"), torch.no_grad():  # a mode that changes no operator
        note(torch.ones(2))
    assert seen == [False, True, True, True, True, False]


def test_torch_has_no_public_way() -> None:
    public = {name for name in dir(torch.func) + dir(torch.compiler) if "active" in name}
    assert not public, "use it instead of the private names in kdna_zoo/layers/compat.py"
