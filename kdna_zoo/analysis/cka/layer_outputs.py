"""Which layers of a network are looked at, and the Gram matrices of what they give for a batch.

The hooks keep no activations: each output becomes its (N, N) Gram matrix as soon as it is there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from kdna_zoo.analysis.cka.hsic import gram
from kdna_zoo.errors import UserError, did_you_mean
from kdna_zoo.layers import Child
from kdna_zoo.peers import DynamicConv2d

WILD = "*?["  # what makes a pattern of a path


def choose_layers(model: nn.Module, patterns: Sequence[str] | None = None) -> list[str]:
    """Choose layers by module path, in the network's order.

    Args:
        model: The network.
        patterns: Paths of any modules, or patterns such as ``layer3.*`` for those among the layers
            that are chosen without it. None: all convolutions, children and dynamic convolutions,
            and the linear layers of the stages that timm's ``feature_info`` names, such as
            ConvNeXt's 1x1 convolutions; not what is inside an adapter or an attention.

    Raises:
        UserError: If the network has no such layer, or a path or pattern finds none.
    """
    weighted = _weighted(model)
    if not patterns:
        if not weighted:
            raise UserError(
                f"{type(model).__name__} has no convolution and no child layer; name the modules "
                "to compare by their paths (`--layers`)"
            )
        return weighted
    modules = [path for path, _ in model.named_modules() if path]
    chosen: set[str] = set()
    for pattern in patterns:
        wild = any(mark in pattern for mark in WILD)
        among = weighted if wild else modules
        found = {p for p in among if (fnmatchcase(p, pattern) if wild else p == pattern)}
        if not found:
            what = "no convolution fits" if wild else "no layer"
            hint = did_you_mean(
                pattern, weighted, f"it has {', '.join(_some(weighted or modules))}"
            )
            raise UserError(f"{what} {pattern!r} in {type(model).__name__}; {hint}")
        chosen |= found
    return [path for path in modules if path in chosen]


def _weighted(model: nn.Module) -> list[str]:
    stages = _stages(model)
    found: list[str] = []
    children: list[str] = []
    for path, module in model.named_modules():
        if any(path.startswith(f"{child}.") for child in children):
            continue
        if isinstance(module, Child | DynamicConv2d):
            children.append(path)
            found.append(path)
        elif isinstance(module, nn.Conv2d) or (
            isinstance(module, nn.Linear) and path.startswith(stages)
        ):
            found.append(path)
    return found


def _stages(model: nn.Module) -> tuple[str, ...]:
    infos: Any = getattr(model, "feature_info", None) or []
    infos = infos if isinstance(infos, list) else infos.get_dicts()
    return tuple(f"{info['module']}." for info in infos if info.get("module"))


def _some(paths: Sequence[str]) -> list[str]:
    return [*paths[:5], "..."] if len(paths) > 5 else list(paths)


class FeatureExtractor:
    """The Gram matrices of a network's layers for one batch after the other.

    Args:
        model: The network.
        layers: As for `choose_layers`; None: those of its own choice that run in the first batch.
        name: What messages call the network.

    Attributes:
        layers: Module paths, in the order of the matrices.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str] | None, name: str) -> None:
        self.model, self.name = model, name
        self.layers = choose_layers(model, layers)
        self._idle_may_go = not layers
        self._grams: dict[str, Tensor] = {}
        self._images = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hook the layers, in eval mode; both are undone at the end."""
        modes = {module: module.training for module in self.model.modules()}
        handles = []
        try:
            for path in self.layers:
                handles.append(self.model.get_submodule(path).register_forward_hook(self._on(path)))
            self.model.eval()
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module, mode in modes.items():
                module.training = mode

    def of(self, images: Tensor) -> Tensor:
        """Run a batch.

        Args:
            images: (N, C, H, W).

        Returns:
            (layers, N, N) in float64, on the CPU.

        Raises:
            UserError: If the network or a layer does not run, a layer has no output for each
                image, or gives a value that is not finite.
        """
        self._grams, self._images = {}, len(images)
        try:
            with torch.inference_mode():
                self.model(images)
        except (AssertionError, RuntimeError) as error:  # its own words say what it wants
            raise UserError(
                f"{self.name} cannot run on images of {tuple(images.shape)}: {error}"
            ) from error
        if self._idle_may_go and self._grams:
            self.layers = [path for path in self.layers if path in self._grams]
            self._idle_may_go = False
        for path in self.layers:
            if path not in self._grams:
                raise UserError(
                    f"layer {path!r} of {self.name} does not run in a forward pass; choose others "
                    "(`--layers`)"
                )
            if not self._grams[path].isfinite().all():
                raise UserError(
                    f"layer {path!r} of {self.name} gives values that are not finite (NaN or "
                    "infinity), so nothing can be compared: look at the weights, and at the images"
                )
        return torch.stack([self._grams[path] for path in self.layers]).cpu()

    def _on(self, path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or not output.ndim or len(output) % self._images:
                got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise UserError(
                    f"layer {path!r} of {self.name} gives {got} for {self._images} images: no "
                    "tensor with the images in its first dimension; choose others (`--layers`)"
                )
            now = gram(output, self._images)
            # A layer that runs twice has both outputs side by side, whose products add up.
            self._grams[path] = self._grams[path] + now if path in self._grams else now

        return hook
