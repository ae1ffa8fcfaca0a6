"""``kdna-zoo info``: one network, its sharing plan as a tree, and what each stage has and does."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from kdna_zoo.analysis.stages import StageSummary, summarize, total
from kdna_zoo.cli._networks import create_network, input_size
from kdna_zoo.cli._output import (
    Tree,
    add_output_options,
    format_macs,
    print_json,
    print_table,
    print_tree,
)
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError
from kdna_zoo.sharing import CONTROLS, SharingPlan, ablate, auto_plan, share_kernels, stage_of
from kdna_zoo.sharing.apply import SharesKernels

COLUMNS = ("stage", "parameters", "own", "adapter", "shared", "multiply-adds")


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "info",
        help=COMMANDS["info"],
        description="Show any network of timm: who shares with whom, and for each stage the "
        "parameters it holds (own, and its children's adapters), those its children share with "
        "their parents, and the multiply-adds for an image of the network's own input size.",
    )
    parser.add_argument(
        "name", metavar="NAME", help="a registered name, or hf-hub:... or local-dir:..."
    )
    parser.add_argument(
        "--auto-plan",
        action="store_true",
        help="with the plan that kdna_zoo.auto_plan finds, for a network that has none",
    )
    parser.add_argument(
        "--ablation",
        choices=CONTROLS,
        help="as this control of the ablation, which is timm.create_model(NAME, ablation=...)",
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what there is to know."""
    model = create_network(args.name, device="meta")
    if args.auto_plan:
        _share(args.name, model, args.ablation)
    elif args.ablation:
        if _plan(model) is None:
            raise UserError(
                f"{args.name} has no sharing plan, so there is nothing to ablate; leave --ablation "
                "away, or add --auto-plan"
            )
        model = create_network(args.name, device="meta", ablation=args.ablation)
    size = input_size(model)
    stages = summarize(model, size)
    if args.json:
        print_json(_as_data(args.name, model, size, stages))
        return 0
    plan = _plan(model)
    if plan is None:
        print(f"{args.name} has no sharing plan: each layer has a kernel of its own.")
        print("--auto-plan shows one that it could have.")
    else:
        print_tree(_heading(args.name, model, plan), _tree(model, plan), args.markdown)
    print()
    print_table(COLUMNS, _rows(stages), text=("stage",), markdown=args.markdown)
    print(f"\nMultiply-adds are for one image of {' x '.join(map(str, size))}.")
    if plan is not None and not plan.own_kernels:
        print(_saving(stages))
    return 0


def _share(name: str, model: nn.Module, ablation: str | None) -> None:
    if _plan(model) is not None:
        raise UserError(f"{name} has a sharing plan of its own; leave --auto-plan away")
    share_kernels(model, ablate(auto_plan(model), ablation or "full"))


def _plan(model: nn.Module) -> SharingPlan | None:
    return model.sharing_plan if isinstance(model, SharesKernels) else None


def _heading(name: str, model: nn.Module, plan: SharingPlan) -> str:
    parents = {share.parent for share in plan}
    base = getattr(model, "base_arch", None)
    of = f" on timm's `{base}`" if base else ""
    children = _plural(len(plan), "child", "children")
    parts = [f"{children} of {_plural(len(parents), 'parent', 'parents')}"]
    if plan.own_kernels:
        parts = [children]
    if plan.departure:
        parts.append(plan.departure)
    if plan.has_attention:
        parts.append(f"{plan.norm} norm in the channel attention")
    return f"`{name}`{of}: {', '.join(parts)}"


def _saving(stages: Sequence[StageSummary]) -> str:
    whole = total(stages)
    own_kernels = whole.own + whole.shared
    saved = 1 - whole.parameters / own_kernels
    return (
        f"Sharing {'saves' if saved >= 0 else 'adds'} {abs(saved):.1%} of the {own_kernels:,} "
        "parameters that it would have with a kernel of its own in each layer."
    )


def _plural(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _tree(model: nn.Module, plan: SharingPlan) -> Tree:
    """Arrange the plan as stage -> parent -> children, each with a label."""
    tree: dict[str, dict[str, dict[str, Tree]]] = {}
    for share in plan:
        child = f"`{share.child}`{f' (r = {share.reduction})' if plan.has_attention else ''}"
        stage = tree.setdefault(f"`{stage_of(model, share.parent)}`", {})
        if plan.own_kernels:  # a child is its own parent
            stage[child] = {}
            continue
        weight = model.get_parameter(f"{share.parent}.weight")
        label = f"`{share.parent}`: {_shape(weight.shape)}, {weight.numel():,} parameters"
        stage.setdefault(label, {})[child] = {}
    return tree


def _shape(shape: Sequence[int]) -> str:
    """Write a kernel's shape as ``3x3, 256 to 512``; a linear layer has no kernel size."""
    size = f"{shape[2]}x{shape[3]}, " if len(shape) == 4 else ""
    return f"{size}{shape[1]} to {shape[0]}"


def _rows(stages: Sequence[StageSummary]) -> list[tuple[str, ...]]:
    whole = total(stages)
    rows: list[tuple[str, ...]] = [
        (
            f"`{row.stage}`" if row.stage else "outside of all",
            f"{row.parameters:,}",
            f"{row.own:,}",
            f"{row.adapter:,}",
            f"{row.shared:,}",
            format_macs(row.macs),
        )
        for row in (*stages, whole)
    ]
    rows[-1] = ("total", *rows[-1][1:])
    return rows


def _as_data(
    name: str, model: nn.Module, size: Sequence[int], stages: Sequence[StageSummary]
) -> dict[str, Any]:
    plan, whole = _plan(model), total(stages)
    return {
        "name": name,
        "base": getattr(model, "base_arch", None),
        "input_size": list(size),
        "plan": plan.to_dict() if plan else None,
        "parameters": {
            "total": whole.parameters,
            "own": whole.own,
            "adapter": whole.adapter,
            "shared": whole.shared,
        },
        "macs": whole.macs,
        "stages": [{**asdict(stage), "parameters": stage.parameters} for stage in stages],
    }
