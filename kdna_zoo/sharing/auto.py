"""A sharing plan for a network that nobody here named.

`auto_plan` looks for layers of one stage that have one role in their blocks and kernels of one
shape, and lets them share by one of the published rules (see presets.py):

* ``"alternate"``: the last serves the one before it, the last but two the one before that, and so
  on; an odd one at the front keeps its own kernel;
* ``"last"``: the last serves all others.

See candidates.py for what a role is. A pair is left out where the adapter would cost more than the
kernel it saves, as it does in many small layers.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal, get_args

from torch import nn

from kdna_zoo.layers import NormName
from kdna_zoo.sharing.candidates import alike, choose_reduction, roles_of, saved_by
from kdna_zoo.sharing.fitting import Layer, can_share, layers_to_share
from kdna_zoo.sharing.plan import PlanError, Share, SharingPlan
from kdna_zoo.sharing.stages import Stages

Rule = Literal["alternate", "last"]


def auto_plan(
    model: nn.Module,
    stages: str | Sequence[str] | None = None,
    rule: Rule = "alternate",
    reduction: int = 4,
    wide_reduction: int = 24,
    norm: NormName = "batch",
) -> SharingPlan:
    """Make a plan for any network.

    Args:
        model: The network, such as one of ``timm.create_model``.
        stages: Paths of the stages to share in, or one path; None: the last two in which layers
            can share.
        rule: ``"alternate"`` or ``"last"``, see above.
        reduction: Bottleneck ratio r of the channel attention. The published 4 by default.
        wide_reduction: The same for layers with more inputs than outputs. The published 24.
        norm: Norm inside the channel attention, ``"batch"`` (published) or ``"layer"``.

    Raises:
        PlanError: If a stage is unknown, or if nothing can be shared; the message says why.
    """
    if rule not in get_args(Rule):
        raise PlanError(f"unknown rule {rule!r}; choose one of {', '.join(get_args(Rule))}")
    if min(reduction, wide_reduction) < 1:
        raise PlanError(f"a reduction must be at least 1, got {min(reduction, wide_reduction)}")
    layers = layers_to_share(model)
    network = Stages(model)
    roles = roles_of(layers, network)
    by_stage: dict[str, list[str]] = defaultdict(list)
    for path in layers:
        by_stage[network.of(path)].append(path)
    found = {
        stage: [
            Share(child, parent, r)
            for child, parent in _pairs(paths, layers, roles, rule)
            if saved_by(
                layers[child], r := choose_reduction(layers[child], reduction, wide_reduction), norm
            )
            > 0
        ]
        for stage, paths in by_stage.items()
    }
    chosen = _choose(found, [stages] if isinstance(stages, str) else stages)
    shares = tuple(share for stage in chosen for share in found[stage])
    if not shares:
        looked_at = {stage: len(by_stage[stage]) for stage in (chosen if stages else by_stage)}
        raise PlanError(_why_nothing(model, looked_at))
    return SharingPlan(shares, norm)


def _pairs(
    paths: list[str], layers: dict[str, Layer], roles: dict[str, str], rule: Rule
) -> list[tuple[str, str]]:
    """Pair the layers of a stage that have one role and one shape, as (child, parent)."""
    pairs: list[tuple[str, str]] = []
    for group in alike(paths, layers, roles):
        if rule == "last":
            pairs += [(child, group[-1]) for child in group[:-1]]
        else:
            odd = len(group) % 2
            pairs += list(zip(group[odd::2], group[odd + 1 :: 2], strict=True))
    order = {path: index for index, path in enumerate(paths)}
    return sorted(pairs, key=lambda pair: order[pair[0]])


def _choose(found: dict[str, list[Share]], stages: Sequence[str] | None) -> list[str]:
    if stages is None:
        return [stage for stage, shares in found.items() if shares][-2:]
    for stage in stages:
        if stage not in found:
            raise PlanError(f"no stage {stage!r} in this network; it has {', '.join(found)}")
    return list(stages)


def _why_nothing(model: nn.Module, looked_at: dict[str, int]) -> str:
    """Say why no two layers can share, given the number of layers in each stage."""
    special = Counter(
        type(m).__name__ for m in model.modules() if isinstance(m, nn.Conv2d) and not can_share(m)
    )
    kinds = ", ".join(f"{count} {name}" for name, count in special.items())
    others = f" (it has {kinds}, which compute more)" if special else ""
    if not looked_at:
        return f"nothing can be shared: the network has no plain Conv2d or Linear{others}"
    stages = [f"{stage} ({count} layers)" for stage, count in looked_at.items()]
    more = f" and {len(stages) - 5} more" if len(stages) > 5 else ""
    return (
        "nothing can be shared: no two convolutions or linear layers of one stage have one role in "
        "their blocks and kernels of one shape that are larger than an adapter (depthwise ones are "
        f"left out); looked at {', '.join(stages[:5])}{more}, where stages are what timm's "
        f"feature_info ends{others}"
    )
