"""Bringing the channels of children and parents into line, by permutations that change no output.

Hidden channels come in any order, so a child and its parent would be alike only by chance. For each
space of channels that one of the two has on one side, and the other has not, the best order is a
linear assignment (`scipy.optimize.linear_sum_assignment`): channel a goes to place b where that
gains most. What two filters u and v gain if they become multiples of one filter is the
larger eigenvalue of their Gram matrix, since the smaller is what is lost:

    min over p, f of  |u - f p|^2 + |v - p|^2  =  smaller eigenvalue of ((uu, uv), (uv, vv))

Products are taken as the outputs see them, with second moments and weights (see seen.py). All that
a space touches counts, so blocks with several hidden spaces are solved in turn until nothing gains.
Groups of a grouped convolution are assigned as wholes, with the best order inside each pair.
"""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from kdna_zoo.conversion.seen import Seen
from kdna_zoo.conversion.spaces import Space
from kdna_zoo.conversion.tracing import Structure
from kdna_zoo.errors import MissingExtraError
from kdna_zoo.sharing import SharingPlan

SWEEPS = 4  # over all spaces, at most


def match_channels(
    plan: SharingPlan, seen: Mapping[str, Seen], structure: Structure
) -> tuple[dict[int, Tensor], dict[str, Seen]]:
    """Find an order of the channels in which children are more like their parents.

    Args:
        plan: Who shares with whom.
        seen: Its layers, by path.
        structure: The network's spaces.

    Returns:
        For each space that moves, by its index, the old channel of each new one; and the layers in
        that order.
    """
    matching = _Matching(plan, dict(seen), structure)
    for _ in range(SWEEPS):
        if not any([matching.improve(bundle) for bundle in matching.bundles]):
            break
    return matching.orders, matching.seen


class _Matching:
    def __init__(self, plan: SharingPlan, seen: dict[str, Seen], structure: Structure) -> None:
        self.plan, self.seen, self.orders = plan, seen, dict[int, Tensor]()
        self._spaces = structure.spaces
        self._at = {
            (path, axis): structure.space_of(f"{path}.weight", axis)
            for path in seen
            for axis in (0, 1)
        }
        for path, layer in seen.items():  # a depthwise kernel has one space on both sides
            if (
                layer.kernel.shape[1] * layer.positions == layer.kernel.shape[2]
                and len(layer.kernel) > 1
            ):
                self._at[path, 1] = self._at[path, 0]
        movable = {
            self._at[share.child, axis]
            for share in plan
            for axis in (0, 1)
            if self._at[share.child, axis] != self._at[share.parent, axis]
        }
        bundles: dict[int, list[int]] = defaultdict(list)
        for index in sorted(i for i in movable if i is not None):
            bundles[self._spaces[index].bundle].append(index)
        self.bundles = list(bundles.values())
        for tied in self.bundles:  # spaces that have to keep step
            bundle = self._spaces[tied[0]].bundle
            tied += [i for i, s in enumerate(self._spaces) if s.bundle == bundle and i not in tied]

    def improve(self, tied: list[int]) -> bool:
        """Solve for the order of the spaces of a bundle; tell whether it gained anything."""
        before, old = self._total(), (dict(self.seen), dict(self.orders))
        scores = [self._scores(index) for index in tied]
        for index, order in zip(tied, _assign(scores, self._spaces[tied[0]]), strict=True):
            self._move(index, order)
        if self._total() > before * (1 + 1e-6):
            return True
        self.seen, self.orders = old
        return False

    def _scores(self, index: int) -> Tensor:
        """Return what each channel (column) gains in each place (row)."""
        size = self._spaces[index].size
        total = torch.zeros(size, size)
        for share in self.plan:
            child, parent = self.seen[share.child], self.seen[share.parent]
            for axis in (0, 1):
                ours, theirs = self._at[share.child, axis], self._at[share.parent, axis]
                if (ours == index) == (theirs == index):
                    continue
                own, other = (child, parent) if ours == index else (parent, child)
                total += _gains(
                    other, own, axis, _mean_moments(child, parent) if axis == 0 else None
                )
        return total

    def _move(self, index: int, order: Tensor) -> None:
        for path in self.seen:
            rows, columns = self._at[path, 0] == index, self._at[path, 1] == index
            if rows:
                self.seen[path] = self.seen[path].with_outputs(order)
            if columns:
                self.seen[path] = self.seen[path].with_inputs(order)
        before = self.orders.get(index)
        self.orders[index] = order if before is None else before[order]

    def _total(self) -> float:
        """Return what all filters gain as the channels are now."""
        total = 0.0
        for share in self.plan:
            child, parent = self.seen[share.child], self.seen[share.parent]
            moments = _mean_moments(child, parent)
            a, b = _weighted(child), _weighted(parent)
            ua, ub = _times(a, moments), _times(b, moments)
            gain = _larger((a * ua).sum(-1), (b * ub).sum(-1), (a * ub).sum(-1))
            total += float(gain.double().sum())
        return total


def _gains(other: Seen, own: Seen, axis: int, moments: Tensor | None) -> Tensor:
    """Return the gains of one kernel's channels in the places of another's, (places, channels)."""
    a, b = _weighted(own), _weighted(other)  # (G, O, D)
    groups, filters, width = a.shape
    if moments is not None:
        full = moments.mean(0) if groups > 1 else moments[0]
        a, b = a.flatten(0, 1), b.flatten(0, 1)
        at, bt = (x @ full if full.ndim == 2 else x * full for x in (a, b))
        return _larger((a * at).sum(-1)[None], (b * bt).sum(-1)[:, None], bt @ a.T)
    size, K = width // own.positions, own.positions
    columns = [
        (x.view(groups, filters, size, K) * _deviation(layer).view(groups, 1, size, 1))
        .transpose(1, 2)
        .reshape(groups * size, filters * K)
        for x, layer in ((a, own), (b, other))
    ]
    u, v = columns
    return _larger(u.square().sum(-1)[None], v.square().sum(-1)[:, None], (v @ u.T).clamp_min(0))


def _larger(uu: Tensor, vv: Tensor, uv: Tensor) -> Tensor:
    """Return the larger eigenvalue of ((uu, uv), (uv, vv))."""
    return (uu + vv) / 2 + (((uu - vv) / 2).square() + uv.square()).sqrt()


def _weighted(layer: Seen) -> Tensor:
    return layer.kernel * layer.weight.sqrt()[..., None]


def _times(rows: Tensor, moments: Tensor) -> Tensor:
    return torch.bmm(rows, moments) if moments.ndim == 3 else rows * moments[:, None]


def _mean_moments(first: Seen, second: Seen) -> Tensor:
    return (first.moments + second.moments) / 2


def _deviation(layer: Seen) -> Tensor:
    """Return the root mean square of each input channel, (G, I)."""
    m = layer.moments
    diagonal = m if m.ndim == 2 else m.diagonal(dim1=1, dim2=2)
    return diagonal.reshape(len(m), -1, layer.positions).mean(-1).clamp_min(0).sqrt()


def _assign(scores: list[Tensor], space: Space) -> list[Tensor]:
    """Return the channel for each place of each space of a bundle, by their scores."""
    blocks = space.blocks
    if blocks == 1:
        return [_best(score)[0] for score in scores]
    widths = [len(score) // blocks for score in scores]
    parts = [score.view(blocks, w, blocks, w) for score, w in zip(scores, widths, strict=True)]
    table = torch.zeros(blocks, blocks)
    inside: dict[tuple[int, int], list[Tensor]] = {}
    for place in range(blocks):
        for block in range(blocks):
            if space.ordered and place != block:
                continue
            found = [_best(part[place, :, block]) for part in parts]
            table[place, block] = sum(gain for _, gain in found)
            inside[place, block] = [order for order, _ in found]
    order = torch.arange(blocks) if space.ordered else _best(table)[0]
    return [
        torch.cat([b * w + inside[place, int(b)][i] for place, b in enumerate(order)])
        for i, w in enumerate(widths)
    ]


def _best(score: Tensor) -> tuple[Tensor, float]:
    """Return the channel for each place, and what they gain."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise MissingExtraError(
            "matching channels needs scipy, which the 'train' extra brings: "
            'pip install "kdna-zoo[train]"; or leave the step out: convert(..., match=False)'
        ) from error
    rows, columns = linear_sum_assignment(score.double().numpy(), maximize=True)
    return torch.as_tensor(columns), float(score[rows, columns].sum())
