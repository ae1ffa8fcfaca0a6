"""Batch norms of a converted network: their statistics follow what the conversion has moved.

A shared kernel gives outputs of a slightly other mean and variance than the layer's own did, and
these errors grow from layer to layer (REPAIR, Jordan et al., arXiv 2211.08403). To estimate the
statistics anew would replace what the training saw, augmentation and all, by what the calibration
images show, and costs a network points even if nothing was converted. So each statistic is moved by
as much as it moves on the same images from the source to the converted network:

    mean' = m_converted + (mean - m_source) r      var' = var r^2      r^2 = v_converted / v_source

A network in which nothing changed keeps its statistics, as far as the images at hand tell.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Sums:
    """Mean and variance of each channel over all images and places, batch by batch."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        """Add (N, C, ...)."""
        flat = x.detach().transpose(0, 1).flatten(1).double()  # (C, N ...)
        self.count += flat.shape[1]
        self._sum = self._sum + flat.sum(1)
        self._squares = self._squares + flat.square().sum(1)

    def mean(self) -> Tensor:
        """Return the mean, (C,)."""
        return torch.as_tensor(self._sum / self.count)

    def var(self) -> Tensor:
        """Return the variance, (C,)."""
        return (torch.as_tensor(self._squares / self.count) - self.mean().square()).clamp_min(0)

    def reordered(self, order: Tensor) -> "Sums":
        """Return the same with the channels in another order."""
        fresh = Sums()
        fresh.count = self.count
        fresh._sum = torch.as_tensor(self._sum)[order]
        fresh._squares = torch.as_tensor(self._squares)[order]
        return fresh


def norms_of(model: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch norms of a network's own, by path, not those of channel attentions."""
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        and module.running_mean is not None
        and ".channel_attn." not in f".{path}."
    }


@contextmanager
def watching(norms: dict[str, _BatchNorm]) -> Iterator[dict[str, Sums]]:
    """Collect what each batch norm sees, as long as the block runs."""
    sums = {path: Sums() for path in norms}
    handles = [
        norm.register_forward_pre_hook(lambda _, args, path=path: sums[path].add(args[0]))
        for path, norm in norms.items()
    ]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def follow(
    model: nn.Module,
    source: nn.Module,
    images: Iterable[Tensor],
    before: dict[str, Sums],
    fresh: Collection[str] = (),
) -> int:
    """Move the statistics of a converted network's batch norms, in one pass over the images.

    Each norm uses what it has seen so far meanwhile, so that those behind it see what they are
    going to see.

    Args:
        model: The converted network in eval mode.
        source: The source, in the order of channels that the converted network has.
        images: Batches (N, C, H, W), the same as for the source.
        before: What the source's norms saw.
        fresh: Norms that no training has seen, which take what is there.

    Returns:
        The number of norms whose statistics moved.
    """
    norms = {path: norm for path, norm in norms_of(model).items() if path in before}
    theirs: dict[str, Any] = norms_of(source)
    own = {path: (theirs[path].running_mean, theirs[path].running_var) for path in norms}
    sums = {path: Sums() for path in norms}

    def hook(path: str) -> Any:
        def look(norm: Any, args: Any) -> None:
            sums[path].add(args[0])
            _set(norm, own[path], before[path], sums[path])

        return look

    handles = [norm.register_forward_pre_hook(hook(path)) for path, norm in norms.items()]
    try:
        for batch in images:
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
        for path, norm in norms.items():
            norm.running_mean.copy_(own[path][0])  # type: ignore[union-attr]
            norm.running_var.copy_(own[path][1])  # type: ignore[union-attr]
    for path, norm in norms.items():
        if path in fresh:
            norm.running_mean.copy_(sums[path].mean())  # type: ignore[union-attr]
            norm.running_var.copy_(sums[path].var().clamp_min(1e-12))  # type: ignore[union-attr]
        else:
            _set(norm, own[path], before[path], sums[path])
    return len(norms)


def _set(norm: Any, own: tuple[Tensor, Tensor], before: Sums, after: Sums) -> None:
    mean, var = own
    first, second = before.var(), after.var()
    ratio = torch.where(first > 1e-12, second / first.clamp_min(1e-12), torch.ones_like(first))
    norm.running_mean.copy_(after.mean() + (mean.double() - before.mean()) * ratio.sqrt())
    norm.running_var.copy_(var.double() * ratio)
