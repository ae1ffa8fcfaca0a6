"""Child linear layer: it is the 1x1 child convolution on channels-last tensors."""

import copy

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.layers import ChannelAttention, ChildConv2d, ChildLinear, NormName
from tests.layers.test_child_conv import perturb, relative_error


def as_conv(child: ChildLinear, norm: NormName) -> ChildConv2d:
    """The 1x1 child convolution with the same parameters."""
    parent = nn.Conv2d(child.in_features, child.out_features, 1, dtype=torch.float64)
    parent.weight = nn.Parameter(child.parent.weight[:, :, None, None].clone())
    conv = ChildConv2d(parent, bias=True, reduction=2, norm=norm)
    conv.load_state_dict(child.state_dict())
    return conv.train(child.training)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_equals_the_child_convolution(norm: NormName, training: bool) -> None:
    torch.manual_seed(0)
    parent, linear = (nn.Linear(6, 4, dtype=torch.float64) for _ in range(2))
    child = ChildLinear.from_linear(linear, parent, reduction=2, norm=norm)
    perturb(child)
    child.train(training)
    x = torch.randn(3, 5, 7, 6, dtype=torch.float64)  # (N, H, W, I)
    expected = as_conv(child, norm)(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert relative_error(child(x), expected) < 1e-10


@pytest.mark.parametrize("shape", [(3, 6), (3, 5, 6), (3, 5, 7, 6)])
def test_any_number_of_middle_dimensions(shape: tuple[int, ...]) -> None:
    child = ChildLinear(nn.Linear(6, 4), reduction=2)
    nn.init.zeros_(child.channel_attn.fc2.weight)
    nn.init.constant_(child.channel_attn.fc2.bias, 100.0)
    x = torch.randn(shape)
    expected = nn.functional.linear(x, child.parent.weight, child.bias)
    assert torch.equal(child(x), expected)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_fused_equals_unfused(norm: NormName) -> None:
    child = ChildLinear(nn.Linear(6, 4), reduction=2, norm=norm)
    perturb(child)
    child.eval()
    x = torch.randn(3, 5, 7, 6)
    with torch.no_grad():
        assert relative_error(child.fuse()(x), child(x)) < 1e-5


def test_keeps_the_bias_and_the_tie() -> None:
    parent, linear = nn.Linear(6, 4), nn.Linear(6, 4)
    child = ChildLinear.from_linear(linear, parent)
    assert child.bias is linear.bias
    assert ChildLinear.from_linear(nn.Linear(6, 4, bias=False), parent).bias is None
    both = copy.deepcopy(nn.ModuleDict({"child": child, "parent": parent}))
    assert both["child"].parent is both["parent"]
    assert "child.parent.weight" not in both.state_dict()


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"child \(4, 6\), parent \(4, 5\)"):
        ChildLinear.from_linear(nn.Linear(6, 4), nn.Linear(5, 4))
    with pytest.raises(ValueError, match="channel_dim must be 1 or -1, got 2"):
        ChannelAttention(8, channel_dim=2)


def test_nothing_is_copied_on_the_way() -> None:
    """The product with the gate keeps the layout of its input, so no permute copies it."""
    child = ChildLinear(nn.Linear(6, 4), norm="layer", reduction=2)
    x: Tensor = child.channel_attn(torch.randn(2, 5, 7, 6))
    assert x.is_contiguous()
