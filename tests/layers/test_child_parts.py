"""Children with a part of the adapter, and children with a kernel of their own."""

import copy
import pickle
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.layers import AdapterName, Child, ChildConv2d, ChildLinear
from tests.layers.test_child_conv import perturb, relative_error

ADAPTERS: tuple[AdapterName, ...] = get_args(AdapterName)
ATTENTION = {"fc1.weight", "norm.weight", "norm.bias", "fc2.weight", "fc2.bias"}
PARTS = {
    "full": {"modulation.filter_attn", *(f"channel_attn.{name}" for name in ATTENTION)},
    "channel": {f"channel_attn.{name}" for name in ATTENTION},
    "static": {"modulation.filter_attn"},
    "none": set(),
}
LAYERS: dict[str, Callable[[], nn.Conv2d | nn.Linear]] = {
    "3x3": lambda: nn.Conv2d(6, 4, 3, padding=1),
    "1x1": lambda: nn.Conv2d(6, 4, 1),
    "linear": lambda: nn.Linear(6, 4),
}

on_each_adapter = pytest.mark.parametrize("adapter", ADAPTERS)
on_each_layer = pytest.mark.parametrize("kind", LAYERS)
on_own_and_shared = pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])


def make(
    kind: str, adapter: AdapterName, own: bool = False
) -> tuple[Any, nn.Conv2d | nn.Linear, Tensor]:
    """A child, the ordinary layer with its kernel and bias, and an input."""
    torch.manual_seed(0)
    layer, parent = LAYERS[kind](), LAYERS[kind]()
    make_child: Any = ChildLinear.from_linear if kind == "linear" else ChildConv2d.from_conv
    child = make_child(layer, None if own else parent, reduction=2, adapter=adapter)
    ordinary = copy.deepcopy(layer if own else parent)
    ordinary.bias = layer.bias
    shape = (3, 5, 7, 6) if kind == "linear" else (3, 6, 7, 5)
    return child, ordinary, torch.randn(shape)


def open_gate(child: Child[Any]) -> None:
    """Make g(x) = 1 for every input, where there is one."""
    if not isinstance(child.channel_attn, nn.Identity):
        nn.init.zeros_(child.channel_attn.fc2.weight)
        nn.init.constant_(child.channel_attn.fc2.bias, 100.0)


@on_each_adapter
@on_each_layer
@on_own_and_shared
def test_a_child_has_these_parameters(kind: str, adapter: AdapterName, own: bool) -> None:
    child, _, _ = make(kind, adapter, own)
    spatial = (
        {"modulation.spatial_attn"} if kind == "3x3" and adapter in ("full", "static") else set()
    )
    expected = {"bias", *({"weight"} if own else ()), *PARTS[adapter], *spatial}
    assert {name for name, _ in child.named_parameters()} == expected
    assert ("own kernel" in repr(child)) == own == child.owns_kernel


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@on_each_adapter
@on_each_layer
@on_own_and_shared
def test_zero_modulation_and_open_gate_is_the_ordinary_layer(
    kind: str, adapter: AdapterName, own: bool, training: bool
) -> None:
    child, ordinary, x = make(kind, adapter, own)
    open_gate(child)
    assert torch.equal(child.train(training)(x), ordinary(x))


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@on_each_layer
@on_own_and_shared
def test_a_part_is_the_full_adapter_with_the_other_at_rest(
    kind: str, own: bool, training: bool
) -> None:
    for part in ADAPTERS[1:]:
        (full, _, x), (child, _, _) = make(kind, "full", own), make(kind, part, own)
        perturb(full)
        missing = child.load_state_dict(full.state_dict(), strict=False).missing_keys
        assert not missing
        if not own:
            child.parent.load_state_dict(full.parent.state_dict())
        if part in ("channel", "none"):
            full.modulation.reset_parameters()
        if part in ("static", "none"):
            open_gate(full)
        assert torch.equal(child.train(training)(x), full.train(training)(x))


@on_each_adapter
@on_each_layer
@on_own_and_shared
def test_fused_equals_unfused(kind: str, adapter: AdapterName, own: bool) -> None:
    child, ordinary, x = make(kind, adapter, own)
    perturb(child)
    child.eval()
    fused = child.fuse()
    with torch.no_grad():
        assert relative_error(fused(x), child(x)) < 1e-5
    if adapter in ("static", "none"):
        assert type(fused) is type(ordinary), "nothing is left of the child"
    pointers = {p.data_ptr() for p in fused.parameters()}
    assert child.parent.weight.data_ptr() not in pointers


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@on_each_layer
def test_a_kernel_of_its_own_is_copied_along(kind: str, copier: Callable[[nn.Module], Any]) -> None:
    child, _, x = make(kind, "channel", own=True)
    copied = copier(child)
    assert copied.parent is copied
    assert copied.parent.weight is copied.weight
    assert copied.weight is not child.weight
    assert torch.equal(copied(x), child(x))
    nn.init.zeros_(child.weight)
    assert copied.weight.any()


@on_each_layer
def test_gradients_reach_a_kernel_of_its_own(kind: str) -> None:
    child, _, x = make(kind, "full", own=True)
    perturb(child)
    child(x).square().sum().backward()
    assert [name for name, p in child.named_parameters() if p.grad is None] == []
    assert child.weight.grad.any()


@on_each_layer
def test_one_image_trains_without_channel_attention(kind: str) -> None:
    for adapter in ("static", "none"):
        child, _, x = make(kind, adapter)
        assert child.train()(x[:1]).isfinite().all()


def test_unknown_adapter() -> None:
    for kind in LAYERS:
        with pytest.raises(
            ValueError, match="unknown adapter 'both'; choose one of full, channel, static, none"
        ):
            make(kind, "both")
