"""Which layers may share, by what it costs: the error that is left when two of them are fitted.

For each two layers of one stage, one role and one shape, their blocks' channels are matched as a
conversion would, and a shared kernel with an adapter is fitted (see factors.py, with the variances
of the inputs in place of all second moments). What that leaves, in units of the network's output if
there are images, over the parameters that it saves is the price of the pair; the cheapest become
children until the budget is met (sharing/greedy.py). `analysis.cka` has the same by similarity of
the layers' outputs, which a fit does not ask for.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from kdna_zoo.conversion.batches import Batches, run_first
from kdna_zoo.conversion.checks import check_source
from kdna_zoo.conversion.factors import Member, fit_together, loss
from kdna_zoo.conversion.matching import match_channels
from kdna_zoo.conversion.observing import observe
from kdna_zoo.conversion.plain import plain
from kdna_zoo.conversion.progress import Progress
from kdna_zoo.conversion.sample import sample_for
from kdna_zoo.conversion.seen import Seen, see
from kdna_zoo.conversion.tracing import Structure, find_structure
from kdna_zoo.layers import NormName
from kdna_zoo.sharing import PlanError, Share, SharingPlan
from kdna_zoo.sharing.candidates import alike, choose_reduction, roles_of, saved_by
from kdna_zoo.sharing.fitting import layers_to_share
from kdna_zoo.sharing.greedy import Group, check_saving, fill
from kdna_zoo.sharing.stages import Stages

ROUNDS = 5  # of a fit; the order of the pairs is settled by then


def suggest_plan(
    model: nn.Module,
    images: Iterable[Any] | None = None,
    saving: float = 0.2,
    *,
    across_roles: bool = False,
    reduction: int = 4,
    wide_reduction: int = 24,
    norm: NormName = "batch",
    seed: int = 0,
    progress: bool | None = None,
) -> SharingPlan:
    """Choose parents and children by the fitted error, so that enough parameters are saved.

    Args:
        model: The trained network, which shares nothing yet; it is left as it is.
        images: Calibration images, as for `convert`; None: errors go by the weights alone.
        saving: Part of the network's parameters to save at least, adapters counted as costs.
        across_roles: Whether layers of different roles may share, such as ``conv1`` and ``conv2``
            of a block in the published ResNet-18.
        reduction: Bottleneck ratio r of the channel attention. The published 4 by default.
        wide_reduction: The same for layers with more inputs than outputs. The published 24.
        norm: Norm inside the channel attention, ``"batch"`` (published) or ``"layer"``.
        seed: Of choices at random.
        progress: Whether to show a progress bar; None: if this is a terminal.

    Raises:
        UserError: If so much cannot be saved (the message says how much can), or the network or
            the images cannot be used.
        PlanError: If the network shares already, or a reduction is below 1.
    """
    model = plain(model) if isinstance(model, nn.Module) else model
    check_source(model)
    if min(reduction, wide_reduction) < 1:
        raise PlanError(f"a reduction must be at least 1, got {min(reduction, wide_reduction)}")
    groups = _groups(model, across_roles)
    layers = layers_to_share(model)
    sizes = {
        path: saved_by(layers[path], _r(layers[path], reduction, wide_reduction), norm)
        for group in groups
        for path in group
    }
    groups = [group for group in groups if sizes[group[0]] > 0]
    total = sum(p.numel() for p in model.parameters())
    free = [_group(group, layers, sizes, (reduction, wide_reduction), {}) for group in groups]
    check_saving(saving, free, total, across_roles)
    was = model.training
    model.eval()
    try:
        with Progress(progress) as bar:
            prices = _prices(model, groups, images, seed, bar)
    finally:
        model.train(was)
    found = [_group(group, layers, sizes, (reduction, wide_reduction), prices) for group in groups]
    fill(found, saving * total)
    order = {path: index for index, path in enumerate(layers)}
    shares = [share for group in found for _, share in group.shares]
    return SharingPlan(tuple(sorted(shares, key=lambda share: order[share.child])), norm)


def _r(layer: Any, reduction: int, wide: int) -> int:
    return choose_reduction(layer, reduction, wide)


def _groups(model: nn.Module, across_roles: bool) -> list[list[str]]:
    """Return the layers that can share with each other, two or more at a time."""
    layers, stages = layers_to_share(model), Stages(model)
    roles = dict.fromkeys(layers, "") if across_roles else roles_of(layers, stages)
    by_stage: dict[str, list[str]] = defaultdict(list)
    for path in layers:
        by_stage[stages.of(path)].append(path)
    found = [group for paths in by_stage.values() for group in alike(paths, layers, roles)]
    return [group for group in found if len(group) > 1]


def _group(
    paths: list[str],
    layers: Mapping[str, Any],
    sizes: Mapping[str, int],
    reductions: tuple[int, int],
    prices: Mapping[tuple[str, str], float],
) -> Group:
    saved = sizes[paths[0]]
    similarity = torch.tensor(
        [[-prices.get((child, parent), 0.0) / saved for parent in paths] for child in paths],
        dtype=torch.float64,
    )
    return Group(paths, similarity, saved, _r(layers[paths[0]], *reductions))


@torch.no_grad()
def _prices(
    model: nn.Module,
    groups: list[list[str]],
    images: Iterable[Any] | None,
    seed: int,
    bar: Progress,
) -> dict[tuple[str, str], float]:
    """Return what is left of each pair of layers, child and parent, after a fit."""
    batches = None if images is None else Batches(images, model)
    sample = batches.first if batches else sample_for(model)
    run_first(model, sample)
    structure = find_structure(model, sample)
    layers: Any = {path: model.get_submodule(path) for group in groups for path in group}
    observed = None
    if batches:
        bar.begin("observing", batches.expected)
        observed = observe(model, layers, batches, batches.expected, seed, bar.advance, False)
    seen = see(layers, structure, observed, model, ())
    pairs = [(c, p) for group in groups for i, c in enumerate(group) for p in group[i + 1 :]]
    pairs.sort(key=lambda pair: [path.rpartition(".")[0] for path in pair])  # block by block
    bar.begin("pricing pairs", len(pairs), " pairs")
    matched: dict[tuple[str, str], dict[str, Seen]] = {}
    prices = {}
    for child, parent in pairs:
        blocks = child.rpartition(".")[0], parent.rpartition(".")[0]
        if blocks not in matched:
            matched = {blocks: _matched(blocks, pairs, seen, structure)}
        bar.say(f"{child}, {parent}")
        prices[child, parent] = _price(matched[blocks][child], matched[blocks][parent])
        bar.advance()
    return prices


def _matched(
    blocks: tuple[str, str],
    pairs: list[tuple[str, str]],
    seen: Mapping[str, Seen],
    structure: Structure,
) -> dict[str, Seen]:
    """Match the channels of two blocks, as if all their layers of one role shared."""
    both = [(c, p) for c, p in pairs if (c.rpartition(".")[0], p.rpartition(".")[0]) == blocks]
    shares: dict[str, str] = {}
    for child, parent in both:
        if parent not in shares and child not in shares.values():
            shares.setdefault(child, parent)
    plan = SharingPlan(tuple(Share(child, parent) for child, parent in shares.items()))
    involved = {path: seen[path] for pair in both for path in pair}
    return match_channels(plan, involved, structure)[1]


def _price(child: Seen, parent: Seen) -> float:
    members = [
        Member(layer.kernel, layer.moments, layer.weight, layer.positions, *[layer is child] * 3)
        for layer in (parent, child)
    ]
    members[1].spatial = child.positions > 1
    return loss(members, fit_together(members, rounds=ROUNDS))
