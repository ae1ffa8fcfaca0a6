"""A sharing plan from what the layers of a trained network have in common.

`auto_plan` pairs layers by a fixed rule; `suggest_plan` lets those share whose outputs are most
alike by CKA, until enough parameters are saved. The paper (arXiv 2503.23379) argues from the grid
of CKA that layers can share, and chooses by hand; choosing by it is our own step.

Candidates are layers of one stage, one role and one shape, see sharing/candidates.py. In such a
group a parent comes after its children, as in all published plans, and each child takes from the
most similar of the layers after it that keep their kernels. Greedy: of all layers, that one becomes
a child next which leaves the least similar of the pairs it changes as similar as can be. The last
of a group can always take all others, so the way never ends before the largest saving. At the end
children that are not needed for the saving become their own again, the least similar first.
"""

from collections import defaultdict

import torch
from torch import Tensor, nn

from kdna_zoo.analysis.cka.cka import Cka
from kdna_zoo.errors import UserError, did_you_mean
from kdna_zoo.layers import NormName
from kdna_zoo.sharing import PlanError, Share, SharingPlan
from kdna_zoo.sharing.apply import SharesKernels
from kdna_zoo.sharing.candidates import alike, choose_reduction, roles_of, saved_by
from kdna_zoo.sharing.fitting import layers_to_share
from kdna_zoo.sharing.stages import Stages


class Group:
    """Layers that can share among themselves, and which of them are children so far.

    Args:
        paths: Module paths, in the network's order.
        similarity: CKA of each pair, (layers, layers).
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
        """The shares so far, each with the CKA of its two layers."""
        return [
            (self._similarity[c][p], Share(self.paths[c], self.paths[p], self.reduction))
            for c, p in self._pairs.items()
        ]

    def take(self) -> None:
        """Make a child of the layer that `similarity` is about."""
        self._settle(self._children | {self._next[1]})

    @property
    def similarity(self) -> float:
        """CKA of the least similar pair that the next child would make; -inf if there is none."""
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


def suggest_plan(
    cka: Cka,
    model: nn.Module,
    saving: float = 0.2,
    *,
    across_roles: bool = False,
    reduction: int = 4,
    wide_reduction: int = 24,
    norm: NormName = "batch",
) -> SharingPlan:
    """Choose parents and children by similarity, so that enough parameters are saved.

    Args:
        cka: Of the network with itself; layers that it does not have are left alone.
        model: The network, which shares nothing yet; only its layers' shapes are looked at.
        saving: Part of the network's parameters to save at least, adapters counted as costs.
        across_roles: Whether layers of different roles may share, such as ``conv1`` and ``conv2``
            of a block in the published ResNet-18.
        reduction: Bottleneck ratio r of the channel attention. The published 4 by default.
        wide_reduction: The same for layers with more inputs than outputs. The published 24.
        norm: Norm inside the channel attention, ``"batch"`` (published) or ``"layer"``.

    Raises:
        UserError: If so much cannot be saved (the message says how much can), or the CKA is of two
            networks or of another one.
        PlanError: If the network shares already, or a reduction is below 1.
    """
    groups = _groups(cka, model, across_roles, (reduction, wide_reduction), norm)
    total = sum(p.numel() for p in model.parameters())
    _check_saving(saving, sum(group.most for group in groups), total, across_roles)
    saved = 0
    while saved < saving * total:
        group = max(groups, key=lambda g: (g.similarity, g.saved))
        group.take()
        saved += group.saved
    found = [(cka, share, group) for group in groups for cka, share in group.shares]
    for _, share, group in sorted(found, key=lambda item: item[0]):
        if saved - group.saved >= saving * total:
            group.give_back(share.child)
            saved -= group.saved
    order = {path: index for index, path in enumerate(cka.rows)}
    shares = [share for group in groups for _, share in group.shares]
    return SharingPlan(tuple(sorted(shares, key=lambda share: order[share.child])), norm)


def _groups(
    cka: Cka,
    model: nn.Module,
    across_roles: bool,
    reductions: tuple[int, int],
    norm: NormName,
) -> list[Group]:
    if isinstance(model, SharesKernels):
        raise PlanError(
            "this network has a sharing plan already, be it that of a control; suggest one for its"
            " base, such as timm's resnet18 with layers=(2, 2, 3, 3) for kdna_resnet18"
        )
    if min(reductions) < 1:
        raise PlanError(f"a reduction must be at least 1, got {min(reductions)}")
    if not cka.is_of_one:
        raise UserError(
            f"a plan needs the CKA of one network with itself, and this is of {cka.networks[0]} "
            f"against {cka.networks[1]}"
        )
    modules = dict(model.named_modules())
    for path in cka.rows:
        if path not in modules:
            hint = did_you_mean(path, modules, "measure the network that the plan is for")
            raise UserError(
                f"the CKA is of a layer {path!r}, which {type(model).__name__} has not; {hint}"
            )
    alive = [path for i, path in enumerate(cka.rows) if not cka.matrix[i, i].isnan()]
    index = {path: i for i, path in enumerate(cka.rows)}
    layers = layers_to_share(model)
    network = Stages(model)
    roles = dict.fromkeys(layers, "") if across_roles else roles_of(layers, network)
    stages: dict[str, list[str]] = defaultdict(list)
    for path in alive:
        if path in layers:
            stages[network.of(path)].append(path)
    groups = []
    for paths in (group for stage in stages.values() for group in alike(stage, layers, roles)):
        r = choose_reduction(layers[paths[0]], *reductions)
        saved = saved_by(layers[paths[0]], r, norm)
        if saved > 0 and len(paths) > 1:
            places = torch.tensor([index[path] for path in paths])
            groups.append(Group(paths, cka.matrix[places][:, places], saved, r))
    return groups


def _check_saving(saving: float, most: int, total: int, across_roles: bool) -> None:
    if not 0 < saving < 1:
        raise UserError(f"a saving is a part of the parameters, between 0 and 1; got {saving}")
    if most < saving * total:
        roles = "" if across_roles else ", or let layers of different roles share (across roles)"
        raise UserError(
            f"a saving of {saving:.1%} cannot be met: the most that these layers can save is "
            f"{most / total:.2%} ({most:,} of {total:,} parameters), each group of one stage, role "
            f"and shape sharing one kernel; ask for less{roles}"
        )
