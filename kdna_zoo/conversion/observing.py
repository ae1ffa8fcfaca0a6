"""One pass of the source over the calibration images, which all later steps take their data from.

Memory does not grow with the number of images: of each layer there are sums, see moments.py.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdna_zoo.conversion.moments import Moments
from kdna_zoo.conversion.norms import Sums, norms_of, watching
from kdna_zoo.errors import UserError
from kdna_zoo.sharing.fitting import Layer

SENSITIVE = 128  # images whose gradients tell how much the errors of a filter matter


@dataclass
class Observed:
    """What the source showed on the calibration images.

    Attributes:
        moments: Of each layer that shares, by path.
        weight: Sensitivity of the output to each filter, (O,), by path.
        norms: What each batch norm saw.
        images: How many there were.
    """

    moments: dict[str, Moments]
    weight: dict[str, Tensor] = field(default_factory=dict)
    norms: dict[str, Sums] = field(default_factory=dict)
    images: int = 0


def observe(
    model: nn.Module,
    layers: Mapping[str, Layer],
    images: Iterable[Tensor],
    expected: int,
    seed: int,
    told: Callable[[int], None],
    full: bool = True,
) -> Observed:
    """Run the source over the images once.

    Args:
        model: The source in eval mode.
        layers: Those that share, by path.
        images: Batches (N, C, H, W).
        expected: How many images there may be.
        seed: Of the choice of patches, and of the directions of the output's gradient.
        told: Called with the number of images after each batch.
        full: Whether to keep all second moments, and not the squares alone.

    Raises:
        UserError: If an activation is not finite; the message names the layer.
    """
    found = Observed({p: Moments(layer, expected, seed, full) for p, layer in layers.items()})
    found.weight = {path: torch.zeros(len(layer.weight)) for path, layer in layers.items()}
    generator = torch.Generator().manual_seed(seed)
    sensed = 0
    with ExitStack() as stack:
        for path, layer in layers.items():
            handle = layer.register_forward_pre_hook(_adding(found.moments[path]))
            stack.callback(handle.remove)
        found.norms = stack.enter_context(watching(norms_of(model)))
        for batch in images:
            if sensed < SENSITIVE:
                output = _sense(model, layers, batch, found.weight, generator)
                sensed += len(batch)
            else:
                with torch.no_grad():
                    output = model(batch)
            if not _finite(output):
                raise UserError(_where_not_finite(model, batch))
            found.images += len(batch)
            told(len(batch))
    for path in found.weight:
        found.weight[path] /= max(sensed, 1)
    return found


def _adding(moments: Moments) -> Any:
    def hook(module: nn.Module, args: Any) -> None:
        moments.add(args[0])

    return hook


def _sense(
    model: nn.Module,
    layers: Mapping[str, Layer],
    batch: Tensor,
    weight: dict[str, Tensor],
    generator: torch.Generator,
) -> Any:
    """Add the squared gradient of the output, in a random direction, by each filter's output."""
    handles = [
        layer.register_forward_hook(_grasping(weight, path, isinstance(layer, nn.Linear)))
        for path, layer in layers.items()
    ]
    try:
        with torch.enable_grad():
            output = model(batch.clone().requires_grad_())
            if isinstance(output, Tensor) and output.requires_grad and _finite(output):
                signs = torch.randint(0, 2, output.shape, generator=generator) * 2.0 - 1
                centred = signs - signs.mean(dim=1, keepdim=True)
                direction = centred.to(output) / max(output.shape[1], 1) ** 0.5
                output.backward(direction)  # type: ignore[no-untyped-call]
    finally:
        for handle in handles:
            handle.remove()
        model.zero_grad(set_to_none=True)
    return output.detach() if isinstance(output, Tensor) else output


def _grasping(weight: dict[str, Tensor], path: str, last: bool) -> Any:
    def add(gradient: Tensor) -> None:
        channels = gradient if last else gradient.transpose(1, -1)
        weight[path] += channels.float().square().flatten(0, -2).sum(0).cpu()

    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(add)  # type: ignore[no-untyped-call]

    return hook


def _finite(output: Any) -> bool:
    return not isinstance(output, Tensor) or bool(output.isfinite().all())


def _where_not_finite(model: nn.Module, batch: Tensor) -> str:
    """Name the first layer that gives NaN or infinity."""
    if not batch.isfinite().all():
        return (
            "the calibration images hold NaN or infinity: look at how they are read and normalised"
        )
    first: list[str] = []

    def hook(path: str) -> Any:
        def look(module: nn.Module, args: Any, output: Any) -> None:
            if not first and not _finite(output):
                first.append(path)

        return look

    leaves = [(p, m) for p, m in model.named_modules() if p and not list(m.children())]
    handles = [module.register_forward_hook(hook(path)) for path, module in leaves]
    try:
        with torch.no_grad():
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    where = f"layer {first[0]!r}" if first else "the network"
    return (
        f"{where} of the source gives NaN or infinity on the calibration images, so nothing can be "
        "fitted to it: look at its weights, and at how the images are normalised"
    )
