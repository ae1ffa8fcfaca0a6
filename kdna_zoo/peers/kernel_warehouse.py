"""KernelWarehouse: kernels put together from cells that all layers of a stage draw on.

Source: Li and Yao, KernelWarehouse, ICML 2024 (arXiv 2406.07879). A stage has one warehouse of M
cells e_1 .. e_M, each (cell out, cell in). A layer's kernel is cut into m pieces of that size, one
kernel position each, and each piece is a mixture of all cells:

    h = ReLU(BN(FC(GAP(x))))      z = FC(h), M + 1 numbers for each piece
    a = (1 - t) z / (sum |z| + 0.001) + t b      w = sum_j a_j e_j,  without the last of the M + 1

b points at one cell for each piece, none twice, or at the last number, which is no cell. The blend
t falls from 1 to 0 over the first twenty epochs, so that each cell first has a place of its own.

The mixtures of all samples and pieces are one matrix product, (N m, M) x (M, cell). Each sample has
a kernel of its own (per_sample.py), except where the map has hardly a pixel, so that a network of
these exports to ONNX for one batch size alone: there the number of groups of a convolution is a
constant, and it counts samples.

Shapes: N batch, M cells, m pieces, S kernel positions, O and I channels (I over groups).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
import torch.fx
from torch import Tensor, nn

from kdna_zoo.peers.dynamic import Annealed, DynamicConv2d, Squeeze
from kdna_zoo.peers.per_sample import (
    Geometry,
    conv2d_by_position,
    conv2d_per_sample,
    fold,
    has_few_pixels,
    unfold,
)

torch.fx.wrap("warehouse_conv2d")  # a step of its own in a trace, whose shapes are not known

SMALL = 1e-3  # beside the sum of absolute values that attentions are divided by


class WarehouseConfig(NamedTuple):
    """What a warehouse is to be; layers with equal stores share one.

    Attributes:
        name: Tells it from other warehouses.
        budget: Cells for each piece that there is. Published: 1/4, 1/2, 1, 2 and 4.
        cell_out: Output channels of a cell over the greatest common divisor of its layers'.
        cell_in: The same of the input channels. Published for both: 1, and the budget below 1.
    """

    name: str
    budget: float = 1
    cell_out: float = 1
    cell_in: float = 1


class CellShape(NamedTuple):
    """Output and input channels of a cell."""

    out_channels: int
    in_channels: int


class Warehouse(nn.Module):
    """The cells of a stage.

    Args:
        cells: Their number M.
        shape: Of one cell.
    """

    def __init__(self, cells: int, shape: CellShape) -> None:
        super().__init__()
        self.shape = shape
        self.cells = nn.Parameter(torch.empty(cells, shape.out_channels * shape.in_channels))
        start = self.cells.data.view(-1, shape.in_channels, 1, 1)
        nn.init.kaiming_normal_(start, mode="fan_out", nonlinearity="relu")

    def extra_repr(self) -> str:
        """Summarise the warehouse in the network's printout."""
        return f"{len(self.cells)} cells of {self.shape.out_channels} x {self.shape.in_channels}"


class KWConv2d(DynamicConv2d, Annealed):
    """Convolution with a kernel from a warehouse, in the place of ``conv``.

    Args:
        conv: The convolution to replace.
        warehouse: Where its cells are.
        assigned: For each piece of the kernel the cell that it starts with; M for none.
        owns: Whether this layer registers the warehouse; one of its layers must.
        reduction: The squeezed vector has I over this many numbers, at least 16. Published: 16.
    """

    start, end, anneal_epochs = 1.0, 0.0, 20.0
    assigned: Tensor

    def __init__(
        self,
        conv: nn.Conv2d,
        warehouse: Warehouse,
        assigned: list[int],
        owns: bool,
        reduction: int = 16,
    ) -> None:
        super().__init__(conv)
        self._warehouse = (warehouse,)  # in a tuple: a reference, not a submodule
        self.warehouse = warehouse if owns else None
        hidden = max(self.in_channels // reduction, 16)
        self.squeeze = Squeeze(self.in_channels, hidden, norm=True)
        self.attention = nn.Linear(hidden, len(assigned) * (len(warehouse.cells) + 1))
        self.register_buffer("assigned", torch.tensor(assigned))
        for linear in (self.squeeze.fc, self.attention):
            nn.init.kaiming_normal_(linear.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.attention.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return conv(x, W_n), with W_n put together from the warehouse."""
        (warehouse,) = self._warehouse
        logits = self.attention(self.squeeze(x))
        a = blended(logits, self.assigned, self.annealed)
        return warehouse_conv2d(x, a, warehouse.cells, self.bias, self.geometry, warehouse.shape)


class KWLinear(KWConv2d):
    """The same for a linear layer on a pooled vector (N, I), which is a 1x1 convolution of it."""

    def __init__(self, linear: nn.Linear, *args: Any, **kwargs: Any) -> None:
        conv = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=False, device="meta")
        super().__init__(conv, *args, **kwargs)
        self.bias = cast("nn.Parameter | None", linear.bias)
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x: Tensor) -> Tensor:
        """Return W_n x + b: (N, I) -> (N, O)."""
        return super().forward(x[:, :, None, None]).flatten(1)


@torch.fx.wrap
def blended(logits: Tensor, assigned: Tensor, t: Tensor) -> Tensor:
    """Work out the attentions.

    Args:
        logits: (N, m (M + 1)).
        assigned: The number that b points at for each piece, (m,).
        t: The blend, from 1 (all b) to 0 (none).

    Returns:
        (N, m, M)
    """
    z = logits.view(logits.shape[0], len(assigned), -1)  # (N, m, M + 1)
    a = z * ((1 - t) / (z.abs().sum(dim=2, keepdim=True) + SMALL))
    place = assigned.view(1, -1, 1).expand(z.shape[0], -1, -1)
    return a.scatter_add(2, place, t.to(a.dtype).expand_as(place))[:, :, :-1]


def warehouse_conv2d(
    x: Tensor,
    a: Tensor,
    cells: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    cell: CellShape,
) -> Tensor:
    """Convolve each sample with its kernel.

    Args:
        x: (N, I * groups, H, W).
        a: Each cell's share in each piece, (N, m, M).
        cells: (M, cell).
        bias: (O,), or None.
        geometry: Shape of a kernel, stride, padding, dilation and groups.
        cell: Shape of a cell.
    """
    out, per_group, *size = geometry.shape
    pixels = x.shape[2] * x.shape[3] // math.prod(geometry.stride)
    if geometry.groups == 1 and pixels * cell.out_channels <= out:
        y = _by_cells(x, a, cells, geometry, cell)
        return y if bias is None else y + bias[:, None, None]
    pieces = a.flatten(0, 1) @ cells  # (N m, cell)
    pieces = pieces.view(
        -1, math.prod(size), out // cell.out_channels, per_group // cell.in_channels, *cell
    )  # (N, S, O / o, I / i, o, i)
    pieces = pieces.transpose(3, 4)  # (N, S, O / o, o, I / i, i)
    if size != [1, 1] and has_few_pixels(x, geometry):
        y = conv2d_by_position(x, pieces.reshape(*pieces.shape[:2], out, per_group), geometry)
    else:
        kernels = pieces.permute(0, 2, 3, 4, 5, 1).reshape(-1, *geometry.shape)
        y = conv2d_per_sample(x, kernels, geometry)
    return y if bias is None else y + bias[:, None, None]


def _by_cells(x: Tensor, a: Tensor, cells: Tensor, geometry: Geometry, cell: CellShape) -> Tensor:
    """Apply every cell to every piece of the input, and mix the outputs: for very few pixels.

    It takes as many multiplications as mixing the kernels times (pixels o / O), and no kernel of a
    sample is ever made.
    """
    N, wide = x.shape[0], geometry.shape[0] // cell.out_channels
    columns = unfold(x, geometry)  # (N, I, S, L)
    L = columns.shape[3]
    columns = columns.view(N, -1, cell.in_channels, *columns.shape[2:])  # (N, I / i, i, S, L)
    columns = columns.permute(2, 0, 3, 1, 4).flatten(1)  # (i, N S (I / i) L)
    outputs = cells.view(-1, cell.in_channels) @ columns  # (M o, N S (I / i) L)
    outputs = outputs.view(len(cells), cell.out_channels, N, -1, L)  # (M, o, N, S (I / i), L)
    outputs = outputs.permute(2, 3, 0, 1, 4).flatten(3).flatten(1, 2)  # (N, S (I / i) M, o L)
    shares = a.view(N, math.prod(geometry.shape[2:]), wide, -1, len(cells))
    shares = shares.transpose(1, 2).flatten(2)  # (N, O / o, S (I / i) M)
    return fold(torch.bmm(shares, outputs).view(N, -1, L), x, geometry)


def share_warehouse(
    layers: Mapping[str, nn.Conv2d | nn.Linear], store: WarehouseConfig, reduction: int
) -> dict[str, KWConv2d]:
    """Make the layers of one warehouse, whose cells fit all of them.

    Args:
        layers: The layers to replace, in the network's order. The first owns the warehouse.
        store: What the warehouse is to be.
        reduction: See `KWConv2d`.
    """
    shapes = [tuple(layer.weight.shape) for layer in layers.values()]
    ratios = store.cell_out, store.cell_in
    divisors = [math.gcd(*(shape[i] for shape in shapes)) for i in (0, 1)]
    cell = CellShape(*(max(int(d * r), 1) for d, r in zip(divisors, ratios, strict=True)))
    counts = [math.prod(shape) // math.prod(cell) for shape in shapes]  # pieces of each layer
    warehouse = Warehouse(max(int(sum(counts) * store.budget), 1), cell)
    made: dict[str, KWConv2d] = {}
    first = 0
    for (path, layer), pieces in zip(layers.items(), counts, strict=True):
        assigned, end = _assign(pieces, first, store.budget, len(warehouse.cells))
        part = warehouse.cells.data[first:end].view(-1, cell.in_channels, 1, 1)
        if len(part):
            nn.init.kaiming_normal_(part, mode="fan_out", nonlinearity="relu")
        args = warehouse, assigned, not made, reduction
        made[path] = (
            KWLinear(layer, *args) if isinstance(layer, nn.Linear) else KWConv2d(layer, *args)
        )
        first = end
    return made


def _assign(pieces: int, first: int, budget: float, cells: int) -> tuple[list[int], int]:
    """Point each piece at a cell of its own, from `first` on; return the cell after them too.

    With a budget below one there are several pieces to a cell: one of them gets it, and the place
    of that one moves from cell to cell.
    """
    if budget >= 1:
        step = int(budget)
        return [first + step * piece for piece in range(pieces)], first + step * pieces
    group, assigned = int(1 / budget), []
    for piece in range(pieces):
        if piece % group == piece // group % group and first < cells:
            assigned.append(first)
            first += 1
        else:
            assigned.append(cells)
    return assigned, first
