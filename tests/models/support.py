"""What the contract over all registered networks needs: their names, their bases, their inputs.

The contract is in the files ``test_contract_*.py``, each point a test, over every name in timm's
registry: by default over the tiny ``test_kdna_*``. What one network, built once, can show is tested
on all of them with ``-m integration``; what builds networks of its own, compiles or exports takes
longer, and is tested on all of them with ``-m slow``.
"""

import functools
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import kdna_zoo  # noqa: F401  registers the names
from kdna_zoo.layers import Child

NAMES = timm.list_models(["kdna_*", "test_kdna_*"])
TINY = [name for name in NAMES if name.startswith("test_")]

on_each = pytest.mark.parametrize("name", NAMES)
on_each_at_length = pytest.mark.parametrize(
    "name",
    [name if name in TINY else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
    scope="module",  # so that a file's fixtures may take the name
)


def images(count: int, size: int = 64, channels: int = 3, seed: int = 1) -> Tensor:
    """Random normalised images, always the same ones."""
    return torch.randn(
        count, channels, size, size, generator=torch.Generator("cpu").manual_seed(seed)
    )


def create(name: str, **args: Any) -> nn.Module:
    """Build a network in eval mode with every vector moved away from its start.

    At the start the children's attentions and the last norm (or layer scale) of each residual
    branch are zero, and no output would depend on what is tested.
    """
    torch.manual_seed(0)
    model = timm.create_model(name, **args).eval()
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.data.add_(torch.linspace(0.1, 0.3, len(tensor)))
    return model


def shapes_only(name: str, **args: Any) -> nn.Module:
    """Build a network in eval mode on the meta device: shapes alone, at no cost."""
    with torch.device("meta"):
        return timm.create_model(name, **args).eval()


def base_of(name: str, **args: Any) -> nn.Module:
    """Build timm's base network with the same arguments on the meta device."""
    base, base_args = _base(name)
    return shapes_only(base, **{**base_args, **args})


@functools.cache
def _base(name: str) -> tuple[str, dict[str, Any]]:
    model: Any = shapes_only(name)
    return model.base_arch, model.base_args


def children(model: nn.Module) -> dict[str, Child[Any]]:
    """All child layers by path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, Child)}


def assert_tied(model: nn.Module) -> None:
    """Each child's parent is one of the network's own layers."""
    modules = set(model.modules())
    found = children(model)
    assert found
    assert all(child.parent in modules for child in found.values())


def gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients of a loss on the outputs, by parameter; every parameter must have one."""
    model.zero_grad()
    model(x).float().square().mean().backward()
    parameters = {name.removeprefix("_orig_mod."): p for name, p in model.named_parameters()}
    assert [name for name, p in parameters.items() if p.grad is None] == []
    return {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Assert that two tensors differ little, relative to the largest value."""
    assert actual.shape == expected.shape
    error = float((actual.float() - expected.float()).abs().max() / expected.float().abs().max())
    assert error <= tolerance, f"relative difference {error:.1e}"


def assert_all_close(
    actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-4
) -> None:
    """Assert that tensors differ little by name; what is noise beside the largest may be noise."""
    assert actual.keys() == expected.keys()
    noise = 1e-2 * max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():
        error = float((actual[name] - value).abs().max()) / max(float(value.abs().max()), noise)
        assert error <= tolerance, f"{name}: relative difference {error:.1e}"
