"""A folded BatchNorm is the equation, to the last digit of the layer's own precision."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.layers import fold_batch_norm

LAYERS: dict[str, Callable[[bool], Any]] = {
    "plain": lambda bias: nn.Conv2d(6, 4, 3, bias=bias),
    "grouped": lambda bias: nn.Conv2d(6, 4, 3, groups=2, stride=2, padding=1, bias=bias),
    "linear": lambda bias: nn.Linear(6, 4, bias=bias),
}


def seasoned(affine: bool = True) -> nn.BatchNorm2d:
    """A norm whose statistics and parameters are far from their start."""
    norm = nn.BatchNorm2d(4, eps=1e-3, affine=affine).eval()
    for tensor in [*norm.parameters(), norm.running_mean, norm.running_var]:
        tensor.data += torch.rand_like(tensor)
    return norm


def exact(tensor: Tensor | None, other: float) -> Tensor:
    given = torch.full((4,), other) if tensor is None else tensor.detach()
    return given.double()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_equation(kind: str, bias: bool, affine: bool) -> None:
    torch.manual_seed(0)
    layer, norm = LAYERS[kind](bias), seasoned(affine)
    weight = layer.weight.detach().clone()
    scale = exact(norm.weight, 1) / (norm.running_var.double() + norm.eps).sqrt()
    shift = (exact(layer.bias, 0) - norm.running_mean.double()) * scale + exact(norm.bias, 0)
    folded = fold_batch_norm(layer, norm)
    expected = weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))
    torch.testing.assert_close(folded.weight.double(), expected, rtol=1.2e-7, atol=0)
    torch.testing.assert_close(folded.bias.double(), shift, rtol=1.2e-7, atol=1e-9)
    assert folded.weight.requires_grad
    assert folded.bias.requires_grad
    assert torch.equal(layer.weight, weight), "the layer is left as it is"


def test_the_layer_keeps_its_precision_and_geometry() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(6, 4, 3, stride=2, dtype=torch.bfloat16), seasoned()
    folded = fold_batch_norm(conv, norm)
    assert (folded.weight.dtype, folded.bias.dtype) == (torch.bfloat16, torch.bfloat16)
    x = torch.randn(2, 6, 9, 9)
    torch.testing.assert_close(
        folded.float()(x), norm(conv.float()(x)), rtol=2**-8, atol=2**-7, msg="one rounding more"
    )


def test_what_cannot_be_folded() -> None:
    with pytest.raises(ValueError, match="only a BatchNorm can be folded, got GroupNorm"):
        fold_batch_norm(nn.Conv2d(6, 4, 1), nn.GroupNorm(2, 4))
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    with pytest.raises(ValueError, match="without running statistics cannot be folded"):
        fold_batch_norm(nn.Conv2d(6, 4, 1), norm)
