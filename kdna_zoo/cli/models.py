"""``kdna-zoo models``: the registered networks, what sharing saves and what they cost."""

import argparse
from dataclasses import asdict, dataclass
from typing import Any

import timm

from kdna_zoo.cli._networks import create_network, input_size
from kdna_zoo.cli._output import add_output_options, format_macs, print_json, print_table
from kdna_zoo.errors import UserError
from kdna_zoo.models.macs import count_macs
from kdna_zoo.sharing import audit

COLUMNS = (
    "name",
    "parameters",
    "own kernels",
    "timm base",
    "base's parameters",
    "multiply-adds",
    "weights",
)
TEXT = ("name", "timm base", "weights")


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: The registered name.
        parameters: With 1,000 classes, or as many as the name stands for.
        own_kernels: Those of the same network with a kernel of its own in each layer.
        base: timm's name of the base; None for a network that shares nothing.
        base_parameters: Those of timm's base.
        macs: Multiply-adds for one image.
        input_size: The image's channels, height and width.
        weights: Tags of the weights there are.
    """

    name: str
    parameters: int
    own_kernels: int
    base: str | None
    base_parameters: int | None
    macs: int
    input_size: tuple[int, ...]
    weights: tuple[str, ...]


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "models",
        help="list the networks and what sharing saves",
        description="List the networks: parameters with 1,000 classes, those of the same network "
        "with a kernel of its own in each layer, those of timm's base (which for some ResNets is "
        "less deep), and multiply-adds at the network's own input size.",
    )
    parser.add_argument(
        "pattern", nargs="?", default="kdna_*", help="names to list (default: %(default)s)"
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    names = timm.list_models(args.pattern)
    if not names:
        known = ", ".join(timm.list_models("kdna_*"))
        raise UserError(f"no network matches {args.pattern!r}; there are {known}")
    rows = [describe(name) for name in names]
    if args.json:
        print_json([asdict(row) for row in rows])
    else:
        print_table(COLUMNS, map(_cells, rows), text=TEXT, markdown=args.markdown)
    return 0


def describe(name: str) -> Row:
    """Count what a registered network has and does; nothing is computed."""
    model = create_network(name, device="meta")
    base = getattr(model, "base_arch", None)
    return Row(
        name=name,
        parameters=_count(model),
        own_kernels=sum(layer.own + layer.shared for layer in audit(model)),
        base=base,
        base_parameters=_count(create_network(base, device="meta")) if base else None,
        macs=count_macs(model, input_size(model)),
        input_size=input_size(model),
        weights=tuple(timm.list_pretrained(name)),
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"`{row.name}`",
        f"{row.parameters:,}",
        _compared(row.parameters, row.own_kernels) if row.base else "",
        f"`{row.base}`" if row.base else "",
        _compared(row.parameters, row.base_parameters) if row.base_parameters else "",
        format_macs(row.macs),
        ", ".join(f"`{tag}`" for tag in row.weights) or "none yet",
    )


def _compared(count: int, other: int) -> str:
    return f"{other:,} ({count / other - 1:+.1%})"


def _count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())
