"""Child convolution: against the plain-loop reference, and the identities it must keep."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.layers import ChannelAttention, ChildConv2d
from tests.layers import reference


def perturb(module: nn.Module) -> None:
    """Give all parameters and statistics values far from their start."""
    generator = torch.Generator().manual_seed(7)
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            tensor.data.uniform_(0.2, 1.2, generator=generator)


def relative_error(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs().max() / b.abs().max()).detach())


def open_gate(child: ChildConv2d) -> None:
    """Make g(x) = sigmoid(large) = 1 for every input."""
    nn.init.zeros_(child.channel_attn.fc2.weight)
    nn.init.constant_(child.channel_attn.fc2.bias, 100.0)


GEOMETRIES: dict[str, dict[str, object]] = {
    "1x1": dict(kernel_size=1),
    "3x3": dict(kernel_size=3, padding=1),
    "stride": dict(kernel_size=3, padding=1, stride=2),
    "dilation": dict(kernel_size=3, padding=2, dilation=2),
    "groups": dict(kernel_size=3, padding=1, groups=2),
    "no padding": dict(kernel_size=3),
    "bias": dict(kernel_size=3, padding=1, bias=True),
    "rectangular": dict(kernel_size=(1, 3), padding=0),
}
PADDED: dict[str, dict[str, object]] = {
    "same": dict(kernel_size=3, padding="same"),
    "same dilated": dict(kernel_size=3, padding="same", dilation=2),
    "reflect": dict(kernel_size=3, padding=1, padding_mode="reflect"),
    "circular": dict(kernel_size=3, padding=(2, 1), padding_mode="circular", stride=2),
    "replicate": dict(kernel_size=3, padding="same", padding_mode="replicate"),
}


def make(geometry: dict[str, object], dtype: torch.dtype = torch.float32) -> tuple[
    ChildConv2d, nn.Conv2d, nn.Conv2d
]:  # fmt: skip
    torch.manual_seed(0)
    args = {"bias": False, **geometry}
    parent = nn.Conv2d(6, 4, **args, dtype=dtype)
    conv = nn.Conv2d(6, 4, **args, dtype=dtype)
    return ChildConv2d.from_conv(conv, parent, reduction=2), conv, parent


@pytest.mark.parametrize("name", GEOMETRIES)
def test_equals_the_plain_loop_reference(name: str) -> None:
    child, _, parent = make(GEOMETRIES[name], torch.float64)
    perturb(child)
    child.eval().requires_grad_(False)
    x = torch.randn(2, 6, 5, 6, dtype=torch.float64)

    attn, norm = child.channel_attn, child.channel_attn.norm
    gate = reference.channel_gate(
        x, attn.fc1.weight, norm.running_mean, norm.running_var, norm.weight, norm.bias,
        norm.eps, attn.fc2.weight, attn.fc2.bias,
    )  # fmt: skip
    kernel = reference.child_kernel(
        parent.weight.detach(), child.modulation.filter_attn, child.modulation.spatial_attn
    )
    (stride, _), (dilation, _) = child.stride, child.dilation
    padding = child.padding[0]
    assert isinstance(padding, int)
    expected = reference.conv2d(
        x * gate[:, :, None, None], kernel, child.bias, stride, padding, dilation, child.groups
    )

    with torch.no_grad():
        assert torch.allclose(attn.gate(x.mean((2, 3))), gate, rtol=0, atol=1e-12)
        assert torch.allclose(child.child_kernel(), kernel, rtol=0, atol=1e-12)
        assert relative_error(child(x), expected) < 1e-10


@pytest.mark.parametrize("geometry", [*GEOMETRIES.values(), *PADDED.values()], ids=str)
def test_zero_attention_and_open_gate_is_the_plain_convolution(geometry: dict[str, object]) -> None:
    child, conv, parent = make(geometry)
    open_gate(child)
    conv.weight = parent.weight
    x = torch.randn(3, 6, 9, 8)
    assert torch.equal(child(x), conv(x))


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("geometry", [*GEOMETRIES.values(), *PADDED.values()], ids=str)
def test_fused_equals_unfused(geometry: dict[str, object], norm: str) -> None:
    _, conv, parent = make(geometry)
    child = ChildConv2d.from_conv(conv, parent, norm=norm, reduction=2)
    perturb(child)
    child.eval()
    fused = child.fuse()
    x = torch.randn(3, 6, 9, 8)
    with torch.no_grad():
        assert relative_error(fused(x), child(x)) < 1e-5
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    assert not fused.training


def test_fused_no_longer_follows_its_parent() -> None:
    child, _, parent = make(GEOMETRIES["3x3"])
    fused, x = child.eval().fuse(), torch.randn(2, 6, 5, 5)
    before = fused(x)
    nn.init.zeros_(parent.weight)
    assert torch.equal(fused(x), before)
    assert torch.equal(child(x), torch.zeros_like(before))


def test_the_parent_stays_unregistered() -> None:
    child, _, _ = make(GEOMETRIES["bias"])
    assert [name for name, _ in child.named_parameters()] == [
        "bias",
        "channel_attn.fc1.weight",
        "channel_attn.norm.weight",
        "channel_attn.norm.bias",
        "channel_attn.fc2.weight",
        "channel_attn.fc2.bias",
        "modulation.filter_attn",
        "modulation.spatial_attn",
    ]


def test_gradients_reach_parent_and_adapter() -> None:
    child, _, parent = make(GEOMETRIES["bias"])
    perturb(child)
    child(torch.randn(4, 6, 5, 5)).square().sum().backward()
    for name, parameter in [*child.named_parameters(), ("parent.weight", parent.weight)]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_keep_the_tie(copier: Callable[[nn.Module], Any]) -> None:
    child, _, parent = make(GEOMETRIES["3x3"])
    both = copier(nn.ModuleDict({"child": child, "parent": parent}))
    assert both["child"].parent is both["parent"]
    assert both["child"].parent is not parent


def test_channels_last_and_dtype_moves_are_accepted() -> None:
    child, _, parent = make(GEOMETRIES["3x3"])
    both = nn.ModuleDict({"child": child, "parent": parent})
    x = torch.randn(2, 6, 5, 5)
    expected = child.eval()(x)
    both.to(memory_format=torch.channels_last)
    y = child(x.to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert relative_error(y, expected) < 1e-5
    assert both.double()["child"](x.double()).dtype == torch.float64


def test_different_kernel_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"child \(4, 6, 3, 3\), parent \(4, 6, 1, 1\)"):
        ChildConv2d.from_conv(nn.Conv2d(6, 4, 3), nn.Conv2d(6, 4, 1))
    with pytest.raises(ValueError, match="its parent's groups: child 4, parent 1"):
        ChildConv2d.from_conv(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(1, 4, 3))


def test_a_weight_that_is_asked_for_is_the_parents() -> None:
    child, conv, _ = make(GEOMETRIES["3x3"])
    assert not hasattr(child, "weight")
    with pytest.raises(AttributeError, match=r"ChildConv2d has no weight .* Fuse the network fir"):
        _ = child.weight
    assert ChildConv2d.from_conv(conv, None).weight is conv.weight, "a kernel of its own"


def test_one_image_in_training_names_the_way_out() -> None:
    child, conv, parent = make(GEOMETRIES["3x3"])
    x = torch.randn(1, 6, 5, 5)
    with pytest.raises(ValueError, match='attn_norm="layer" for a kdna_\\* network'):
        child(x)
    assert child.eval()(x).shape == (1, 4, 5, 5)
    layer = ChildConv2d.from_conv(conv, parent, reduction=2, norm="layer")
    assert layer.train()(x).shape == (1, 4, 5, 5)


def test_layer_norm_choice_is_a_layer_norm() -> None:
    attn = ChannelAttention(8, reduction=2, norm="layer")
    perturb(attn)
    h = torch.randn(3, 4)
    got = attn.norm(h[:, :, None, None]).flatten(1)
    norm = attn.norm
    expected = nn.functional.layer_norm(h, (4,), norm.weight, norm.bias, norm.eps)
    assert torch.allclose(got, expected, atol=1e-6)


def test_channel_attention_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="unknown norm 'group'; choose one of batch, layer"):
        ChannelAttention(8, norm="group")
    with pytest.raises(ValueError, match="reduction must be at least 1, got 0"):
        ChannelAttention(8, reduction=0)
    with pytest.raises(ValueError, match="8 channels over reduction 8 leave 1"):
        ChannelAttention(8, reduction=8, norm="layer")
    assert ChannelAttention(8, reduction=24).fc1.out_features == 1
