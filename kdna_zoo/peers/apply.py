"""Putting a dynamic convolution into a built network, as `share_kernels` does with a plan.

    make_dynamic(timm.create_model("resnet18"), DYConv())

An operator is a small frozen dataclass that says which, with its options; `make_dynamic` asks it
for the layers that take the places of ordinary ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import nn

from kdna_zoo.errors import did_you_mean
from kdna_zoo.peers.dynamic import PeerError
from kdna_zoo.peers.kernel_warehouse import WarehouseConfig, share_warehouse
from kdna_zoo.peers.mixture import CondConv2d, CondLinear, DYConv2d
from kdna_zoo.peers.odconv import ODConv2d

Network = TypeVar("Network", bound=nn.Module)
Layers = Mapping[str, nn.Module]


class Operator(Protocol):
    """One of `CondConv`, `DYConv`, `ODConv` and `KernelWarehouse`."""

    def replace(self, layers: Layers) -> Layers:
        """Return the dynamic layer for each ordinary one, by path."""


@dataclass(frozen=True)
class CondConv:
    """CondConv, which takes linear layers too (`CondLinear`).

    Attributes:
        kernels: Number of kernels in each layer. Published: 8.
    """

    kernels: int = 8

    def replace(self, layers: Layers) -> Layers:
        """Return the dynamic layer for each ordinary one, by path."""
        return {
            path: CondLinear(layer, self.kernels)
            if isinstance(layer, nn.Linear)
            else CondConv2d(_conv(path, layer), self.kernels)
            for path, layer in layers.items()
        }


@dataclass(frozen=True)
class DYConv:
    """DY-Conv.

    Attributes:
        kernels: Number of kernels in each layer. Published: 4.
    """

    kernels: int = 4

    def replace(self, layers: Layers) -> Layers:
        """Return the dynamic layer for each ordinary one, by path."""
        return {path: DYConv2d(_conv(path, layer), self.kernels) for path, layer in layers.items()}


@dataclass(frozen=True)
class ODConv:
    """ODConv.

    Attributes:
        kernels: Number of kernels in each layer. Published: 1 and 4.
    """

    kernels: int = 1

    def replace(self, layers: Layers) -> Layers:
        """Return the dynamic layer for each ordinary one, by path."""
        return {path: ODConv2d(_conv(path, layer), self.kernels) for path, layer in layers.items()}


def _top_level(path: str) -> WarehouseConfig:
    return WarehouseConfig(path.split(".")[0])


@dataclass(frozen=True)
class KernelWarehouse:
    """KernelWarehouse, which takes linear layers too (`KWLinear`).

    Attributes:
        store: Says which warehouse the layer at a path draws on; layers with equal stores share
            one. By default the layers of each top-level module share one, with as many cells as
            they have pieces.
        reduction: The squeezed vector has I over this many numbers, at least 16. Published: 16.
    """

    store: Callable[[str], WarehouseConfig] = _top_level
    reduction: int = 16

    def replace(self, layers: Layers) -> Layers:
        """Return the dynamic layer for each ordinary one, by path."""
        stores: dict[WarehouseConfig, dict[str, nn.Conv2d | nn.Linear]] = {}
        for path, layer in layers.items():
            taken = layer if isinstance(layer, nn.Linear) else _conv(path, layer)
            stores.setdefault(self.store(path), {})[path] = taken
        made: dict[str, nn.Module] = {}
        for store, taken_in in stores.items():
            whole = store.budget if store.budget >= 1 or store.budget <= 0 else 1 / store.budget
            if whole < 1 or abs(whole - round(whole)) > 1e-6:
                raise PeerError(
                    "the budget of a warehouse must be a whole number of 1 or more, or one over a "
                    f"whole number, got {store}"
                )
            made |= share_warehouse(taken_in, store, self.reduction)
        return made


def make_dynamic(model: Network, operator: Operator, paths: Sequence[str] | None = None) -> Network:
    """Replace layers of a network by an operator's; the network is changed in place and returned.

    All is built before the first layer is replaced, so that an error leaves the network untouched.

    Args:
        model: Any network, such as one of ``timm.create_model``.
        operator: What to use, such as ``ODConv(kernels=4)``.
        paths: Module paths of the layers to replace; None: all convolutions but the first.

    Raises:
        PeerError: If a path is unknown (the nearest paths are named), a layer is no plain
            convolution, or the network has no convolutions.
    """
    modules = dict(model.named_modules())
    chosen = _all_but_the_first(modules) if paths is None else list(paths)
    for path in chosen:
        if path not in modules:
            hint = did_you_mean(path, modules, "and none with a name like it")
            raise PeerError(f"no layer {path!r} in this network; {hint}")
    for path, layer in operator.replace({path: modules[path] for path in chosen}).items():
        model.set_submodule(path, layer.train(modules[path].training))
    return model


def _all_but_the_first(modules: Mapping[str, nn.Module]) -> list[str]:
    found = [path for path, module in modules.items() if type(module) is nn.Conv2d]
    if len(found) < 2:
        raise PeerError(
            f"nothing to make dynamic: the network has {len(found)} plain convolutions, and the "
            "first always stays as it is; name the layers by paths=[...]"
        )
    return found[1:]


def _conv(path: str, layer: nn.Module) -> nn.Conv2d:
    if type(layer) is not nn.Conv2d:
        raise PeerError(
            f"{path!r} is a {type(layer).__name__}, and only a plain Conv2d can be made dynamic "
            "(CondConv and KernelWarehouse take a Linear too)"
        )
    return layer
