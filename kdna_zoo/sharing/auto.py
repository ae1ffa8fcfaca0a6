"""A sharing plan for a network that nobody here named.

`auto_plan` looks for layers of one stage that have one role in their blocks and kernels of one
shape, and lets them share by one of the published rules (see presets.py):

* ``"alternate"``: the last serves the one before it, the last but two the one before that, and so
  on; an odd one at the front keeps its own kernel;
* ``"last"``: the last serves all others.

The role is the layer's path inside its block: ``conv2`` of all blocks, say. A pair is left out
where the adapter would cost more than the kernel it saves, as it does in many small layers.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from torch import nn

from kdna_zoo.layers import NormName
from kdna_zoo.sharing.apply import can_share
from kdna_zoo.sharing.plan import PlanError, Share, SharingPlan
from kdna_zoo.sharing.stages import stage_of

Rule = Literal["alternate", "last"]
Layer = nn.Conv2d | nn.Linear


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
    layers = {path: m for path, m in model.named_modules() if can_share(m)}
    roles = _roles(layers)
    by_stage: dict[str, list[str]] = defaultdict(list)
    for path in layers:
        by_stage[stage_of(model, path)].append(path)
    found = {
        stage: [
            Share(child, parent, r)
            for child, parent in _pairs(paths, layers, roles, rule)
            if _saves(
                layers[child], r := _reduction(layers[child], reduction, wide_reduction), norm
            )
        ]
        for stage, paths in by_stage.items()
    }
    chosen = _choose(found, [stages] if isinstance(stages, str) else stages)
    shares = tuple(share for stage in chosen for share in found[stage])
    if not shares:
        raise PlanError(_why_nothing(by_stage, layers, chosen if stages else list(by_stage)))
    return SharingPlan(shares, norm)


def _roles(paths: Iterable[str]) -> dict[str, str]:
    """Take the numbers of blocks out of each path, and leave those that name a layer.

    ``layer3.0.conv2`` becomes ``layer3.#.conv2``. A part that is not all digits, such as ``b1`` or
    ``conv1``, stands for a block if there are two layers or more below it.
    """
    counts = Counter(prefix for path in paths for prefix in _prefixes(path))

    def part(prefix: str) -> str:
        name = prefix.rpartition(".")[2]
        return re.sub(r"\d+", "#", name) if name.isdigit() or counts[prefix] > 1 else name

    return {path: ".".join(map(part, _prefixes(path))) for path in paths}


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _pairs(
    paths: list[str], layers: dict[str, Layer], roles: dict[str, str], rule: Rule
) -> list[tuple[str, str]]:
    """Pair the layers of a stage that have one role and one shape, as (child, parent)."""
    groups: dict[object, list[str]] = defaultdict(list)
    for path in paths:
        layer = layers[path]
        key = (roles[path], type(layer), layer.weight.shape, getattr(layer, "groups", 1))
        groups[key].append(path)
    pairs = []
    for group in groups.values():
        if _is_depthwise(layers[group[0]]):
            continue
        if rule == "last":
            pairs += [(child, group[-1]) for child in group[:-1]]
        else:
            odd = len(group) % 2
            pairs += list(zip(group[odd::2], group[odd + 1 :: 2], strict=True))
    order = {path: index for index, path in enumerate(paths)}
    return sorted(pairs, key=lambda pair: order[pair[0]])


def _is_depthwise(layer: Layer) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups > 1 and layer.weight.shape[1] == 1


def _in_channels(layer: Layer) -> int:
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def _reduction(layer: Layer, reduction: int, wide_reduction: int) -> int:
    return wide_reduction if _in_channels(layer) > layer.weight.shape[0] else reduction


def _saves(layer: Layer, reduction: int, norm: NormName) -> bool:
    """Tell whether there can be an adapter of fewer parameters than the kernel it makes up for."""
    channels = _in_channels(layer)
    hidden = max(channels // reduction, 1)
    if norm == "layer" and hidden == 1:  # a LayerNorm of one channel is constant
        return False
    adapter = 2 * channels * hidden + channels + 2 * hidden + layer.weight.shape[0]
    return adapter < layer.weight.numel()


def _choose(found: dict[str, list[Share]], stages: Sequence[str] | None) -> list[str]:
    if stages is None:
        return [stage for stage, shares in found.items() if shares][-2:]
    for stage in stages:
        if stage not in found:
            raise PlanError(f"no stage {stage!r} in this network; it has {', '.join(found)}")
    return list(stages)


def _why_nothing(
    by_stage: dict[str, list[str]], layers: dict[str, Layer], stages: list[str]
) -> str:
    if not layers:
        return "nothing can be shared: the network has no plain Conv2d or Linear"
    looked_at = [f"{stage} ({len(by_stage[stage])} layers)" for stage in stages]
    more = f" and {len(stages) - 5} more" if len(stages) > 5 else ""
    return (
        "nothing can be shared: no two convolutions or linear layers of one stage have one role in "
        "their blocks and kernels of one shape that are larger than an adapter (depthwise ones are "
        f"left out); looked at {', '.join(looked_at[:5])}{more}"
    )
