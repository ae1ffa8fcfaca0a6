"""A gated 1x1 convolution: the same whichever of its two ways it takes."""

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.layers import ChildConv2d
from kdna_zoo.layers.pointwise import gated_pointwise

BOTH_WAYS = pytest.mark.parametrize("size", [2, 5])  # 4 pixels < 6 channels out < 25 pixels


def example(size: int, bias: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    torch.manual_seed(0)
    x = torch.randn(3, 8, size, size, dtype=torch.float64, requires_grad=True)
    gate = torch.rand(3, 8, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(6, 8, 1, 1, dtype=torch.float64, requires_grad=True)
    return x, gate, kernel, torch.randn(6, dtype=torch.float64) if bias else None


@BOTH_WAYS
@pytest.mark.parametrize("bias", [True, False])
def test_is_the_convolution_of_the_gated_input(size: int, bias: bool) -> None:
    x, gate, kernel, b = example(size, bias)
    expected = nn.functional.conv2d(x * gate[:, :, None, None], kernel, b)
    torch.testing.assert_close(gated_pointwise(x, gate, kernel, b), expected)


@BOTH_WAYS
def test_gradients(size: int) -> None:
    assert torch.autograd.gradcheck(gated_pointwise, example(size))


@BOTH_WAYS
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_keeps_the_memory_format(size: int, memory_format: torch.memory_format) -> None:
    x, gate, kernel, bias = example(size)
    y = gated_pointwise(x.to(memory_format=memory_format), gate, kernel, bias)
    assert y.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(y, gated_pointwise(x, gate, kernel, bias))


@BOTH_WAYS
def test_a_child_trains_as_it_evaluates(size: int) -> None:
    """Training and evaluation take different ways; with a LayerNorm they must not differ."""
    torch.manual_seed(0)
    conv, parent = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 1)
    child = ChildConv2d.from_conv(conv, parent, norm="layer").double()
    x = torch.randn(3, 8, size, size, dtype=torch.float64)
    torch.testing.assert_close(child.train()(x), child.eval()(x))


@BOTH_WAYS
@pytest.mark.parametrize("bias", [True, False])
def test_autocast_gives_its_type_as_a_convolution_does(size: int, bias: bool) -> None:
    x, gate, kernel, b = (t if t is None else t.detach().float() for t in example(size, bias))
    assert x is not None
    assert gate is not None
    assert kernel is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert gated_pointwise(x, gate, kernel, b).dtype == torch.bfloat16


def test_the_gated_map_is_not_kept_for_the_backward_pass() -> None:
    x, gate, kernel, bias = example(size=16)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        gated_pointwise(x, gate, kernel, bias)
    maps = {t.untyped_storage().data_ptr() for t in kept if t.numel() >= x.numel()}
    assert maps == {x.untyped_storage().data_ptr()}
