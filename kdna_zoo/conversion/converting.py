"""From a trained network to a KernelDNA network that computes nearly the same.

Source of the method: KernelDNA, arXiv 2503.23379, which argues from trained networks whose layers
are alike, and states no way from one to the other. The way here, each step optional:

1. match: hidden channels of children come into the order of their parents', by permutations that
   change no output (spaces.py, matching.py);
2. fit: shared kernel and adapters together, to the outputs of the layers (factors.py);
3. norms: batch norms follow what has moved (norms.py);
4. refine: blocks learn to give what the source's blocks give (refining.py).

One pass over the images before them collects what 1 and 2 need (observing.py). Without images, 1
and 2 go by the weights alone.
"""

import copy
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from kdna_zoo.conversion.batches import FEWEST, Batches, run_first
from kdna_zoo.conversion.checks import check_plan, check_source
from kdna_zoo.conversion.growing import Grown
from kdna_zoo.conversion.plain import plain
from kdna_zoo.conversion.progress import Progress
from kdna_zoo.conversion.report import ConversionReport
from kdna_zoo.conversion.steps import Conversion
from kdna_zoo.errors import UserError
from kdna_zoo.sharing import SharingPlan
from kdna_zoo.sharing.fitting import Fitting


def convert(
    model: nn.Module | Grown,
    plan: SharingPlan,
    images: Iterable[Any] | None = None,
    *,
    evaluate: Iterable[Any] | None = None,
    match: bool = True,
    fit: bool | Literal["outputs", "weights"] = True,
    norms: bool = True,
    refine: bool | int = True,
    seed: int = 0,
    progress: bool | None = None,
) -> nn.Module:
    """Let the layers of a trained network share kernels, and keep what it computes.

    Args:
        model: Any trained network, or what `grow` returns; it is left as it is.
        plan: Children and parents by module path, as for `share_kernels`.
        images: Calibration images, normalised as the network takes them: a loader or list of
            batches, with or without labels. Best augmented as the source was trained. None: the
            fit goes by the weights alone, and the last two steps are left out.
        evaluate: Labelled images by which accuracies are measured after each step.
        match: Whether to permute hidden channels.
        fit: Whether to fit kernels and adapters, to the layers' ``"outputs"`` on the images, as
            with True, or to their ``"weights"`` alone; else each child uses its parent's kernel as
            it is.
        norms: Whether batch norms follow.
        refine: Whether blocks learn from the source's, or for how many batches; True: as many as a
            fixed number of multiply-adds allows, which is none for a large network.
        seed: Of all choices at random; the same seed gives the same network, on the same machine.
        progress: Whether to show a progress bar; None: if this is a terminal.

    Returns:
        The converted network in eval mode, with the plan as ``sharing_plan`` and a
        `ConversionReport` as ``conversion_report``.

    Raises:
        UserError: If the source cannot be converted, or the images are not for it.
        PlanError: If the plan does not fit.
    """
    grown = model if isinstance(model, Grown) else Grown(_plain(model), (), _count(model))
    check_source(grown.network)
    check_plan(plan)
    if fit not in (True, False, "outputs", "weights"):
        raise UserError(f"fit is True, False, 'outputs' or 'weights', got {fit!r}")
    fitting = Fitting(grown.network)
    for share in plan:
        fitting.check(share)
    source = copy.deepcopy(grown.network).eval().requires_grad_(True)
    batches = None if images is None else Batches(images, source)
    measured = None if evaluate is None else Batches(evaluate, source, "evaluate")
    _check_images(source, batches, measured)
    random_state = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        with Progress(progress) as bar, torch.no_grad():
            given = grown.added, batches, measured, seed, bar, fit == "weights"
            conversion = Conversion(source, plan, *given)
            conversion.observe()
            conversion.share()
            conversion.match(match)
            conversion.fit(bool(fit))
            conversion.follow(norms)
            conversion.refine(refine)
    finally:
        torch.set_rng_state(random_state)
    converted = conversion.model.eval()
    for parameter in converted.parameters():
        parameter.requires_grad_(True)
    report = ConversionReport(
        plan=plan,
        parameters=(grown.parameters, _count(converted)),
        images=conversion.images,
        evaluated=conversion.evaluated,
        seed=seed,
        layers=conversion.layers(),
        steps=tuple(conversion.steps),
        added=grown.added,
    )
    converted.conversion_report = report  # type: ignore[assignment]
    return converted


def _check_images(source: nn.Module, batches: Batches | None, measured: Batches | None) -> None:
    for given in (batches, measured):
        if given is not None:
            run_first(source, given.first)
    if batches is not None and batches.expected < FEWEST:
        raise UserError(
            f"images holds {batches.expected} image{'s' if batches.expected != 1 else ''}, which "
            f"say too little of what a layer sees: give at least {FEWEST}, better 1,000 or more; "
            "or none, to fit the weights alone"
        )


def _plain(model: Any) -> Any:
    return plain(model) if isinstance(model, nn.Module) else model


def _count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters()) if isinstance(model, nn.Module) else 0
