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
from torch import nn

from kdna_zoo.analysis.cka.cka import Cka
from kdna_zoo.errors import UserError, did_you_mean
from kdna_zoo.layers import NormName
from kdna_zoo.sharing import PlanError, SharingPlan
from kdna_zoo.sharing.apply import SharesKernels
from kdna_zoo.sharing.candidates import alike, choose_reduction, roles_of, saved_by
from kdna_zoo.sharing.fitting import layers_to_share
from kdna_zoo.sharing.greedy import Group, check_saving, fill
from kdna_zoo.sharing.stages import Stages


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
    check_saving(saving, groups, total, across_roles)
    fill(groups, saving * total)
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
