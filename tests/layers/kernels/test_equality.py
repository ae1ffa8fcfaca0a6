"""By kernels a child computes what it computes by the plain form, forward and backward."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from kdna_zoo.layers import ChannelAttention, NormName
from kdna_zoo.layers.kernels import attention, modulation, plain_form
from kdna_zoo.layers.static_modulation import StaticModulation
from tests.layers import reference
from tests.layers.kernels.support import KINDS, in_both_forms, make, worst
from tests.layers.test_child_conv import perturb, relative_error

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
on_each_kind = pytest.mark.parametrize("kind", KINDS)
on_each_norm = pytest.mark.parametrize("norm", ["batch", "layer"])
TOLERANCE = {torch.float64: 2e-14, torch.float32: 1e-5}


@on_each_kind
@on_each_norm
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_step_is_that_of_the_plain_form(
    kind: str, norm: NormName, dtype: torch.dtype, device: str
) -> None:
    both, x = make(kind, norm, dtype, device)
    by_kernels, plain = in_both_forms(both, x)
    assert worst(by_kernels, plain) < TOLERANCE[dtype]
    assert not torch.equal(by_kernels["x"], plain["x"]), "the kernels did run"


@on_each_kind
def test_channels_last(kind: str, device: str) -> None:
    both, x = make(kind, "batch", torch.float64, device)
    both.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
    by_kernels, plain = in_both_forms(both, x)
    assert worst(by_kernels, plain) < 2e-14
    assert by_kernels["x"].stride() == x.stride()
    weight = by_kernels["parent.weight"]
    assert kind == "linear" or weight.is_contiguous(memory_format=torch.channels_last)


def test_frozen_statistics(device: str) -> None:
    both, x = make("3x3", "batch", torch.float64, device)
    both["child"].channel_attn.norm.eval()
    before = both["child"].channel_attn.norm.running_mean.clone()
    by_kernels, plain = in_both_forms(both, x)
    assert worst(by_kernels, plain) < 2e-14
    assert torch.equal(by_kernels["child.channel_attn.norm.running_mean"], before)


def test_what_needs_no_gradient_gets_none(device: str) -> None:
    both, x = make("3x3", "batch", torch.float64, device)
    both["parent"].requires_grad_(False)
    both["child"].channel_attn.requires_grad_(False)
    by_kernels, plain = in_both_forms(both, x)
    assert worst(by_kernels, plain) < 2e-14
    assert "parent.weight" not in by_kernels


@pytest.mark.parametrize(
    ("kind", "norm", "mixed", "autocast"),
    [
        ("3x3", "batch", torch.bfloat16, True),
        ("3x3", "layer", torch.bfloat16, False),
        ("1x1", "batch", torch.float16, True),
        ("linear", "batch", torch.float16, False),
        ("linear", "layer", torch.bfloat16, True),
    ],
)
def test_half_precision_is_as_near_to_the_truth_as_the_plain_form(
    kind: str, norm: NormName, mixed: torch.dtype, autocast: bool, device: str
) -> None:
    both, x = make(kind, norm, torch.float32, device)
    truth, _ = in_both_forms(copy.deepcopy(both).double(), x.double())
    if autocast:
        by_kernels, plain = in_both_forms(both, x, mixed)
        assert by_kernels["x"].dtype == by_kernels["parent.weight"].dtype == torch.float32
    else:
        by_kernels, plain = in_both_forms(both.to(mixed), x.to(mixed))
        assert by_kernels["x"].dtype == by_kernels["parent.weight"].dtype == mixed
    assert by_kernels["y"].dtype == mixed
    error, plain_error = worst(by_kernels, truth), worst(plain, truth)
    assert error <= 2 * plain_error
    assert error < 0.1


@on_each_norm
@pytest.mark.parametrize("shape", [(33, 66, 1, 2), (2, 66, 10, 13)])
def test_sizes_beyond_each_tile(norm: NormName, shape: tuple[int, ...], device: str) -> None:
    """More images, positions, input and hidden channels than a program takes at a time."""
    torch.manual_seed(0)
    layer = ChannelAttention(66, 2, norm).double().to(device)
    perturb(layer)
    x = torch.randn(shape, dtype=torch.float64, device=device)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    inputs = [x, *layer.parameters()]
    weights = torch.randn_like(x)
    found = torch.autograd.grad((layer(x) * weights).sum(), inputs)
    with plain_form():
        expected = torch.autograd.grad((layer(x) * weights).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a, b) < 1e-13


@pytest.mark.parametrize("shape", [(3, 5), (3, 1100), (2, 130, 3, 3), (2, 5, 1, 3), (2, 3, 7, 7)])
def test_kernels_of_all_shapes(shape: tuple[int, ...], device: str) -> None:
    torch.manual_seed(0)
    layer = StaticModulation(torch.Size(shape)).double().to(device)
    perturb(layer)
    weight = torch.randn(shape, dtype=torch.float64, device=device, requires_grad=True)
    inputs = [weight, *layer.parameters()]
    weights = torch.randn_like(weight)
    kernel = modulation.modulate(layer, weight)
    assert kernel is not None
    assert torch.equal(kernel, layer(weight))
    found = torch.autograd.grad((kernel * weights).sum(), inputs)
    expected = torch.autograd.grad((layer(weight) * weights).sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a, b) < 1e-14


def test_equals_the_plain_loop_reference(device: str) -> None:
    both, x = make("3x3", "batch", torch.float64, device)
    child: Any = both.eval().requires_grad_(False)["child"]
    attn, norm, static = child.channel_attn, child.channel_attn.norm, child.modulation
    tensors = (
        x, attn.fc1.weight, norm.running_mean, norm.running_var, norm.weight, norm.bias
    )  # fmt: skip
    rest: Any = (norm.eps, attn.fc2.weight.cpu(), attn.fc2.bias.cpu())
    gate = reference.channel_gate(*(t.cpu() for t in tensors), *rest)
    expected = x.cpu() * gate[:, :, None, None]
    kernel = reference.child_kernel(
        both["parent"].weight.cpu(), static.filter_attn.cpu(), static.spatial_attn.cpu()
    )
    by_kernels = attention.attend(attn, x)
    assert by_kernels is not None
    tolerance = 1e-15 if device == "cpu" else 1e-14  # a GPU has an exponential of its own
    assert relative_error(by_kernels.cpu(), expected) < tolerance
    assert relative_error(child._kernel_now().cpu(), kernel) < tolerance


@on_each_norm
def test_fused_and_unfused_inference(norm: NormName, device: str) -> None:
    for kind in KINDS:
        both, x = make(kind, norm, torch.float64, device)
        child = both.eval()["child"]
        fused = child.fuse()
        with torch.inference_mode():
            found = [child(x), fused(x)]
            with plain_form():
                expected = [child(x), fused(x)]
        for a, b in zip(found, expected, strict=True):
            assert relative_error(a, b) < 1e-14


@on_each_norm
def test_gradcheck(norm: NormName, device: str) -> None:
    torch.manual_seed(0)
    layer: Any = ChannelAttention(5, 2, norm).double().to(device)
    perturb(layer)
    if norm == "batch":
        layer.norm.momentum = 0.0  # the check runs it many times
    x = torch.randn(3, 5, 2, 3, dtype=torch.float64, device=device, requires_grad=True)
    check(layer, x)


def check(layer: nn.Module, x: torch.Tensor) -> None:
    """Check the gradients of the input and of all parameters, and theirs."""
    names = [name for name, _ in layer.named_parameters()]

    def run(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        state = dict(zip(names, values, strict=True))
        y: torch.Tensor = torch.func.functional_call(layer, state, (x,))
        return y

    inputs = (x, *layer.parameters())
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


class Formed(nn.Module):
    """A modulation that is called as a child calls it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.modulation = StaticModulation(torch.Size(shape))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        kernel = modulation.modulate(self.modulation, weight)
        assert kernel is not None
        return kernel


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 3, 3)])
def test_gradcheck_of_the_modulation(shape: tuple[int, ...], device: str) -> None:
    torch.manual_seed(0)
    layer = Formed(shape).double().to(device)
    perturb(layer)
    weight = torch.randn(shape, dtype=torch.float64, device=device, requires_grad=True)
    check(layer, weight)
