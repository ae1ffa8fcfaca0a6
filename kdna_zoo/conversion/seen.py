"""What is known of each layer that shares: its kernel, what it sees, how much its errors matter.

With calibration images, second moments of its input come from moments.py, and the weight of each
filter is its sensitivity: the mean square of the gradient of the network's output by the filter's
output, so that weighted errors of all layers are in one unit, that of the network's own output.
Without images the moments are one, and a filter weighs by the batch norm behind it.

Shapes: G groups, O filters of a group, D numbers of a patch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdna_zoo.conversion.observing import Observed
from kdna_zoo.conversion.tracing import Structure
from kdna_zoo.sharing.fitting import Layer

FLOOR = 0.01  # of the mean: a filter that a few images do not show to matter may do so on others


@dataclass(frozen=True)
class Seen:
    """A layer as a fit sees it.

    Attributes:
        kernel: (G, O, D).
        moments: (G, D, D), or without images its diagonal, (G, D).
        mean: Mean patch, (G, D); None without images.
        weight: Of each filter, (G, O).
        positions: Numbers of a patch for each input channel, K.
    """

    kernel: Tensor
    moments: Tensor
    mean: Tensor | None
    weight: Tensor
    positions: int

    def with_outputs(self, order: Tensor) -> "Seen":
        """Return it with its filters in another order, whose groups stay together."""
        shape = self.kernel.shape
        kernel = self.kernel.flatten(0, 1)[order].view(shape)
        weight = self.weight.flatten()[order].view(shape[:2])
        return replace(self, kernel=kernel, weight=weight)

    def with_inputs(self, order: Tensor, alone: bool = False) -> "Seen":
        """Return it with its input channels in another order.

        Args:
            order: The old channel of each new one; channels of a group stay together.
            alone: Whether the groups of the kernel did not move with the filters yet.
        """
        groups = len(self.kernel)
        inside = order.view(groups, -1)  # (G, I)
        size = inside.shape[1]
        blocks, inside = inside[:, 0] // size, inside % size
        places = torch.arange(self.positions)
        index = (inside[:, :, None] * self.positions + places).flatten(1)  # (G, D)
        kernel = self.kernel[blocks] if alone else self.kernel
        kernel = torch.stack([kernel[g][:, index[g]] for g in range(groups)])
        moments = self.moments[blocks]
        if moments.ndim == 2:
            moments = moments.gather(1, index)
        else:
            moments = torch.stack([moments[g][index[g]][:, index[g]] for g in range(groups)])
        mean = None if self.mean is None else self.mean[blocks].gather(1, index)
        return replace(self, kernel=kernel, moments=moments, mean=mean)


def grouped(layer: Layer) -> Tensor:
    """Return a layer's kernel as (G, O, D)."""
    weight = layer.weight.detach()
    return weight.reshape(getattr(layer, "groups", 1), -1, weight[0].numel()).float().cpu()


def positions(layer: Layer) -> int:
    """Return how many numbers a kernel has for each input channel and filter."""
    return layer.weight.shape[2:].numel()


def weight_by_norm(layer: Layer, norm: nn.Module | None) -> Tensor:
    """Return how much an error of each filter matters as far as the weights tell, (G, O).

    A batch norm multiplies it by its scale over its standard deviation. Without one, errors count
    relative to the mean filter.
    """
    kernel = grouped(layer)
    groups, filters, _ = kernel.shape
    if isinstance(norm, _BatchNorm) and norm.running_var is not None:
        scale = (norm.running_var.float() + norm.eps).rsqrt().cpu()
        if norm.weight is not None:
            scale = scale * norm.weight.detach().float().cpu()
        return scale.square().view(groups, filters)
    energy = kernel.square().sum(-1).mean().clamp_min(1e-20)
    return torch.full((groups, filters), float(1 / energy))


def see(
    layers: Mapping[str, Layer],
    structure: Structure,
    observed: Observed | None,
    model: nn.Module,
    free: tuple[str, ...],
) -> dict[str, Seen]:
    """Put together what is known of each layer.

    Args:
        layers: Layers that share, by path.
        structure: The network's structure, which knows the norm behind each layer.
        observed: What was seen on images; None: there are none.
        model: The network.
        free: Blocks whose output counts nothing, so that their kernels are free.
    """
    found = {}
    for path, layer in layers.items():
        kernel, norm = grouped(layer), structure.norms.get(path)
        shape = kernel.shape
        if observed:
            takes_mean = norm is not None or layer.bias is not None
            moments = observed.moments[path].second(centred=takes_mean)
            mean, weight = observed.moments[path].mean(), observed.weight[path].view(shape[:2])
            weight = _with_floor(weight, kernel, moments)
        else:
            moments, mean = torch.ones(shape[0], shape[2]), None
            weight = weight_by_norm(layer, model.get_submodule(norm) if norm else None)
        if any(path.startswith(f"{block}.") for block in free):
            weight = torch.zeros_like(weight)
        found[path] = Seen(kernel, moments, mean, weight, positions(layer))
    return found


def _with_floor(weight: Tensor, kernel: Tensor, moments: Tensor) -> Tensor:
    """Let each filter matter a little, relative to its output, (G, O)."""
    seen = torch.bmm(kernel, moments) if moments.ndim == 3 else kernel * moments[:, None]
    energy = (kernel * seen).sum(-1).clamp_min(1e-20)
    mean = (weight * energy).mean()
    if not mean > 0:  # the output is no tensor, or does not hang on this layer
        return 1 / energy
    return weight + FLOOR * mean / energy
