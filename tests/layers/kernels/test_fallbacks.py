"""Where a child computes by the plain form all the same, and that it does so without a word."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.fx import symbolic_trace
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from kdna_zoo.layers import ChannelAttention
from kdna_zoo.layers.kernels import (
    attend,
    attention,
    attention_plan,
    choice,
    modulation,
    plain_form,
)
from kdna_zoo.layers.kernels.launching import launch as true_launch
from tests.layers.kernels.support import make, step, worst

KERNELS = {"pool", "statistics", "scale", "modulate"}
BACKWARD = {"gate_backward", "norm_backward", "scale_backward", "modulate_backward"}


@pytest.fixture
def launched(device: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that are launched."""
    names: list[str] = []

    def launch(compiled: Any, kernel: Any, *args: Any) -> None:
        names.append(kernel.__name__)
        true_launch(compiled, kernel, *args)

    monkeypatch.setattr(attention, "launch", launch)
    monkeypatch.setattr(modulation, "launch", launch)
    return names


def by_compile(both: nn.ModuleDict, x: Tensor) -> Tensor:
    y: Tensor = torch.compile(both["child"], backend="aot_eager", fullgraph=True)(x)
    return y


def by_export(both: nn.ModuleDict, x: Tensor) -> Tensor:
    y: Tensor = torch.export.export(both["child"], (x,)).module()(x)
    return y


def by_trace(both: nn.ModuleDict, x: Tensor) -> Tensor:
    y: Tensor = torch.jit.trace(Whole(both).eval(), x, check_trace=False)(x)  # type: ignore[no-untyped-call]
    return y


def by_fx(both: nn.ModuleDict, x: Tensor) -> Tensor:
    y: Tensor = symbolic_trace(Whole(both))(x)
    return y


def by_make_fx(both: nn.ModuleDict, x: Tensor) -> Tensor:
    y: Tensor = make_fx(both["child"])(x)(x)
    return y


def by_script_of_the_fused(both: nn.ModuleDict, x: Tensor) -> Tensor:
    y: Tensor = torch.jit.script(both["child"].eval().fuse())(x)
    return y


def by_flop_counter(both: nn.ModuleDict, x: Tensor) -> Tensor:
    with FlopCounterMode(display=False) as counter:
        y: Tensor = both["child"](x)
    assert counter.get_total_flops() > 0
    return y


def with_a_hook(both: nn.ModuleDict, x: Tensor) -> Tensor:
    both["child"].modulation = nn.Identity()
    seen: list[Tensor] = []
    both["child"].channel_attn.fc2.register_forward_hook(lambda m, args, y: seen.append(y))
    y: Tensor = both["child"](x)
    assert len(seen) == 1
    return y


def with_other_parts(both: nn.ModuleDict, x: Tensor) -> Tensor:
    both["child"].modulation = nn.Identity()
    attn: Any = both["child"].channel_attn
    attn.norm = nn.Sequential(attn.norm)  # any other module
    y: Tensor = both["child"](x)
    return y


def switched_off(both: nn.ModuleDict, x: Tensor) -> Tensor:
    with plain_form():
        y: Tensor = both["child"](x)
    return y


def on_another_device(both: nn.ModuleDict, x: Tensor) -> Tensor:
    choice.device_types.clear()
    y: Tensor = both["child"](x)
    return y


def of_a_view_with_gaps(both: nn.ModuleDict, x: Tensor) -> Tensor:
    both["child"].modulation = nn.Identity()
    y: Tensor = both["child"](torch.stack([x, x], -1)[..., 0])
    return y


class Whole(nn.Module):
    """A module that holds both, as a network does."""

    def __init__(self, both: nn.ModuleDict) -> None:
        super().__init__()
        self.both = both

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.both["child"](x)
        return y


WAYS: list[Callable[[nn.ModuleDict, Tensor], Tensor]] = [
    by_compile, by_export, by_trace, by_fx, by_make_fx, by_script_of_the_fused, by_flop_counter,
    with_a_hook, with_other_parts, switched_off, on_another_device, of_a_view_with_gaps,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_plain_form_runs(
    way: Callable[[nn.ModuleDict, Tensor], Tensor], launched: list[str], device: str
) -> None:
    both, x = make("3x3", "layer", torch.float64, device)
    without = copy.deepcopy(both)
    if way in (with_a_hook, with_other_parts, of_a_view_with_gaps):
        without["child"].modulation = nn.Identity()
    with plain_form():
        expected = without["child"](x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        y = way(both, x)
    assert launched == []
    torch.testing.assert_close(y, expected)


def test_transforms_of_functions(launched: list[str], device: str) -> None:
    both, x = make("3x3", "layer", torch.float64, device)
    child = both["child"]

    def loss(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        y: Tensor = functional_call(child, parameters, (image[None],))
        return y.square().sum()

    parameters = {name: p.detach() for name, p in child.named_parameters()}
    each = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    assert launched == []
    child(x).square().sum().backward()
    for name, p in child.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(each[name].sum(0), p.grad)
    assert {*launched} == (KERNELS | BACKWARD) - {"statistics", "scale_backward"}


def test_checkpointing(launched: list[str], device: str) -> None:
    both, x = make("3x3", "layer", torch.float64, device)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(both["child"](x).square().sum(), x)
    (found,) = torch.autograd.grad(
        checkpoint(both["child"], x, use_reentrant=False).square().sum(), x
    )
    torch.testing.assert_close(found, expected)
    assert launched.count("pool") == 3, "once, and twice under checkpointing"


@pytest.mark.parametrize("broken", sorted(KERNELS | BACKWARD))
def test_a_kernel_that_fails_gives_way_with_one_warning(
    broken: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, x = make("3x3", "batch", torch.float64, device)
    with plain_form():
        expected = step(both, x)

    class Broken:
        """A kernel that a compiler does not take."""

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            def run(*args: Any) -> None:
                raise TypeError("at 3:4:\nno such type")

            return run

    kernel: Any = Broken()
    kernel.__name__ = broken
    kernels = modulation if broken.startswith("modulate") else attention
    monkeypatch.setattr(kernels._kernels(), broken, kernel)
    for plans in (attention_plan._plans, modulation._plans):
        plans.clear()
    with pytest.warns(RuntimeWarning, match=f"kernel {broken} of a child layer failed") as warned:
        found, again = (step(both, x) for _ in range(2))
    assert len(warned) == 1
    message = str(warned[0].message)
    assert "(TypeError: at 3:4:)" in message
    assert "KDNA_ZOO_KERNELS=0" in message
    assert worst(found, expected) < 2e-14, "the running statistics too"
    assert worst(again, expected) < 2e-14


def test_one_image_in_training_is_refused_as_ever(device: str) -> None:
    both, x = make("3x3", "batch", torch.float32, device)
    with pytest.raises(ValueError, match="cannot train on a batch of one image"):
        both["child"](x[:1])


def test_the_environment_switches_them_off(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = ChannelAttention(6, 2).to(device).eval(), torch.randn(2, 6, 3, 3, device=device)
    assert attend(layer, x) is not None
    choice._is_able.cache_clear()
    monkeypatch.setenv("KDNA_ZOO_KERNELS", "0")
    assert attend(layer, x) is None


@pytest.mark.parametrize(("capability", "hip", "able"), [
    ((7, 5), None, False), ((8, 0), None, True), ((9, 0), None, True), ((9, 4), "6.2", False),
])  # fmt: skip
def test_gpus(
    capability: tuple[int, int], hip: str | None, able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", hip)
    choice._is_able.cache_clear()
    assert choice._is_able(torch.device("cuda", 0)) == able
    choice._is_able.cache_clear()


def test_without_triton_one_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    choice._is_able.cache_clear()
    with pytest.warns(
        RuntimeWarning, match="Triton is not installed; KernelDNA's child layers"
    ) as w:
        answers = [choice._is_able(torch.device("cuda", 0)) for _ in range(2)]
    assert answers == [False, False]
    assert len(w) == 1
    choice._is_able.cache_clear()


def test_a_copy_runs_by_kernels_too(launched: list[str], device: str) -> None:
    both, x = make("3x3", "batch", torch.float64, device)
    copied = copy.deepcopy(both)
    with torch.no_grad():
        assert torch.equal(copied["child"](x), both["child"](x))
    assert launched.count("pool") == 2
