"""``kdna-zoo models``: the registered networks, and what sharing saves, as a Markdown table."""

import argparse
from typing import Any

COLUMNS = ("name", "parameters", "own kernels", "timm base", "base's parameters", "weights")


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "models",
        help="list the networks and what sharing saves",
        description="List the networks as a Markdown table: parameters with 1,000 classes, those "
        "of the same network with a kernel of its own in each layer, and those of timm's base "
        "(which for the ResNets is less deep).",
    )
    parser.add_argument(
        "pattern", nargs="?", default="kdna_*", help="names to list (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    import timm

    import kdna_zoo  # noqa: F401  registers the names
    from kdna_zoo.errors import UserError

    names = timm.list_models(args.pattern)
    if not names:
        known = ", ".join(timm.list_models("kdna_*"))
        raise UserError(f"no network matches {args.pattern!r}; there are {known}")
    rows = [COLUMNS, ("---", "---:", "---:", "---", "---:", "---"), *map(_row, names)]
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return 0


def _row(name: str) -> tuple[str, ...]:
    import timm
    import torch

    from kdna_zoo.sharing import audit
    from kdna_zoo.sharing.apply import SharesKernels

    with torch.device("meta"):
        model = timm.create_model(name)
    base = getattr(model, "base_arch", None)
    if not isinstance(model, SharesKernels) or base is None:
        return (f"`{name}`", f"{_count(model):,}", "", "", "", _weights(name))
    with torch.device("meta"):
        base_count = _count(timm.create_model(base))
    own = sum(row.own + row.shared for row in audit(model))
    count = _count(model)
    return (
        f"`{name}`",
        f"{count:,}",
        f"{own:,} ({count / own - 1:+.1%})",
        f"`{base}`",
        f"{base_count:,} ({count / base_count - 1:+.1%})",
        _weights(name),
    )


def _count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def _weights(name: str) -> str:
    import timm

    tags = timm.list_pretrained(name)
    return ", ".join(f"`{tag}`" for tag in tags) or "none yet"
