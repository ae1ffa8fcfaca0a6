"""Spaces of channels that can be permuted without changing what a network computes.

Between two layers the order of the channels is free: a permutation of what one writes, and of what
the next reads, cancels. Such a space is found by walking a trace of the network (torch.fx):

* a convolution or linear layer reads the space of its input, and begins a new one;
* any other step is tried out on random numbers: if permuting its inputs permutes its output alike
  (activations, norms over all channels with their vectors, pooling, sums, the product with a gate
  of squeeze-and-excitation), its inputs and its output are one space; if it leaves the output as it
  is, as a mean over channels does, the space ends there; and if neither, as for a concatenation, a
  reshape that splits channels or a group norm, the spaces that it mixes cannot be permuted;
* what comes in and what goes out of the network stays as it is.

So a residual stream is one space for a whole stage, and the hidden channels of a block are one of
their own. A grouped convolution lets its groups move as wholes, the same in its input and output,
and channels within each group; a depthwise one has the same space on both sides.

Nothing here knows a family of networks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Touch:
    """A tensor that has a space of channels as one of its dimensions.

    Attributes:
        key: The tensor's key in ``state_dict()``.
        dim: The dimension.
        groups: Of the convolution whose input it is; its kernel has the channels of a group there.
    """

    key: str
    dim: int
    groups: int = 1


@dataclass(frozen=True)
class Space:
    """Channels whose order is free.

    Attributes:
        size: Number of channels.
        touches: Tensors that have to be permuted with it.
        blocks: Groups of channels that stay together; 1: each channel moves on its own.
        bundle: Spaces of one bundle have their blocks in one order.
        ordered: Whether the blocks have to stay where they are.
    """

    size: int
    touches: tuple[Touch, ...]
    blocks: int = 1
    bundle: int = 0
    ordered: bool = False

    def is_order(self, order: Tensor) -> bool:
        """Tell whether an order of channels keeps the blocks together."""
        if not torch.equal(order.sort().values, torch.arange(self.size)):
            return False
        rows = order.view(self.blocks, -1) // (self.size // self.blocks)
        whole = bool((rows == rows[:, :1]).all())
        return whole and (not self.ordered or torch.equal(rows[:, 0], torch.arange(self.blocks)))


Orders = Mapping[int, Tensor]  # index of a space -> new channel i is the old channel order[i]


@torch.no_grad()
def permute(model: nn.Module, spaces: list[Space], orders: Orders) -> None:
    """Bring the channels of spaces into another order, in place; the function stays the same.

    Args:
        model: The network.
        spaces: Its spaces.
        orders: For each space to permute, by its index, the old channel of each new one.
    """
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    touched: dict[str, list[tuple[Touch, Tensor]]] = {}
    for index, order in orders.items():
        assert spaces[index].is_order(order)
        for touch in spaces[index].touches:
            touched.setdefault(touch.key, []).append((touch, order))
    for key, found in touched.items():
        value = state[key]
        for touch, order in sorted(found, key=lambda item: item[0].dim):  # rows before columns
            value = reordered(value, touch, order)
        state[key].copy_(value)


def reordered(value: Tensor, touch: Touch, order: Tensor) -> Tensor:
    """Return a tensor with one of its dimensions in another order.

    Args:
        value: The tensor; the rows of a grouped kernel are in their new order already.
        touch: Which dimension.
        order: The old channel of each new one.
    """
    order = order.to(value.device)
    if touch.groups == 1:
        return value.index_select(touch.dim, order)
    width = len(order) // touch.groups
    inside = order.view(touch.groups, width) % width  # the blocks moved with the rows
    rows = value.view(touch.groups, -1, *value.shape[1:])  # (G, O / G, I / G, ...)
    moved = [group.index_select(1, columns) for group, columns in zip(rows, inside, strict=True)]
    return torch.cat(moved)
