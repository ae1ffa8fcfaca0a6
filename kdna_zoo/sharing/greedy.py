"""Choosing children and parents one by one, until enough parameters are saved.

In a group of layers that can share, a parent comes after its children, as in all published plans,
and each child takes from the most similar of the layers after it that keep their kernels. Greedy:
of all layers, that one becomes a child next which leaves the least similar of the pairs it changes
as similar as can be. The last of a group can always take all others, so the way never ends before
the largest saving. At the end children that are not needed for the saving become their own again,
the least similar first. What similar means is the caller's: CKA, or how little a fit loses.
"""

from torch import Tensor

from kdna_zoo.errors import UserError
from kdna_zoo.sharing.plan import Share


class Group:
    """Layers that can share among themselves, and which of them are children so far.

    Args:
        paths: Module paths, in the network's order.
        similarity: Of each pair, (layers, layers); the larger, the more alike.
        saved: Parameters that each child saves.
        reduction: Bottleneck ratio r of each child.
    """

    def __init__(self, paths: list[str], similarity: Tensor, saved: int, reduction: int) -> None:
        self.paths, self.saved, self.reduction = paths, saved, reduction
        self._similarity: list[list[float]] = similarity.tolist()
        self._children: set[int] = set()
        self._settle(set())

    @property
    def most(self) -> int:
        """Parameters saved if the last takes all others."""
        return self.saved * (len(self.paths) - 1)

    @property
    def shares(self) -> list[tuple[float, Share]]:
        """The shares so far, each with the similarity of its two layers."""
        return [
            (self._similarity[c][p], Share(self.paths[c], self.paths[p], self.reduction))
            for c, p in self._pairs.items()
        ]

    def take(self) -> None:
        """Make a child of the layer that `similarity` is about."""
        self._settle(self._children | {self._next[1]})

    @property
    def similarity(self) -> float:
        """Of the least similar pair that the next child would make; -inf if there is none."""
        return self._next[0]

    def give_back(self, child: str) -> None:
        """Let a child keep its own kernel after all."""
        self._settle(self._children - {self.paths.index(child)})

    def _settle(self, children: set[int]) -> None:
        self._children, self._pairs = children, self._attach(children)
        self._next = max(
            (self._cost(layer), -layer) for layer in range(len(self.paths)) if layer not in children
        )
        self._next = self._next[0], -self._next[1]  # of equal ones the first

    def _attach(self, children: set[int]) -> dict[int, int]:
        """Give each child the most similar parent after it; of equal ones the next."""
        parents = [layer for layer in range(len(self.paths)) if layer not in children]
        return {
            child: max((p for p in parents if p > child), key=self._similarity[child].__getitem__)
            for child in sorted(children)
        }

    def _cost(self, layer: int) -> float:
        if layer == len(self.paths) - 1:
            return float("-inf")
        pairs = self._attach(self._children | {layer}).items()
        return min(self._similarity[c][p] for c, p in pairs - self._pairs.items())


def fill(groups: list[Group], wanted: float) -> None:
    """Let layers become children until so many parameters are saved, and no more than needed."""
    saved = 0
    while saved < wanted:
        group = max(groups, key=lambda g: (g.similarity, g.saved))
        group.take()
        saved += group.saved
    found = [(similarity, share, g) for g in groups for similarity, share in g.shares]
    for _, share, group in sorted(found, key=lambda item: item[0]):
        if saved - group.saved >= wanted:
            group.give_back(share.child)
            saved -= group.saved


def check_saving(saving: float, groups: list[Group], total: int, across_roles: bool) -> None:
    """Check that a saving can be met.

    Args:
        saving: Part of the parameters to save.
        groups: Layers that can share.
        total: Parameters of the network.
        across_roles: Whether layers of different roles may share already.

    Raises:
        UserError: If not; the message says how much can be saved.
    """
    most = sum(group.most for group in groups)
    if not 0 < saving < 1:
        raise UserError(f"a saving is a part of the parameters, between 0 and 1; got {saving}")
    if most < saving * total:
        roles = "" if across_roles else ", or let layers of different roles share (across roles)"
        raise UserError(
            f"a saving of {saving:.1%} cannot be met: the most that these layers can save is "
            f"{most / total:.2%} ({most:,} of {total:,} parameters), each group of one stage, role "
            f"and shape sharing one kernel; ask for less{roles}"
        )
