"""``kdna-zoo cka``: which layers of a network are alike, or how two networks compare; a plan."""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import nn

from kdna_zoo.analysis.cka.cka import Cka, measure_cka, read_cka
from kdna_zoo.analysis.cka.layer_outputs import choose_layers
from kdna_zoo.analysis.cka.suggestion import suggest_plan
from kdna_zoo.cli._files import progress, to_write
from kdna_zoo.cli._networks import create_network, input_size, say_random
from kdna_zoo.cli._options import picture, positive
from kdna_zoo.cli._output import print_table
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError
from kdna_zoo.layers import NormName
from kdna_zoo.names import stands_for_weights
from kdna_zoo.records.machine import hardware, versions_of_measurement
from kdna_zoo.sharing import SharingPlan, share_kernels

PACKAGES = ("datasets", "lightning", "matplotlib", "PIL")


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "cka",
        help=COMMANDS["cka"],
        description="Compare the outputs of all layers of a network, or of two networks on the "
        "same images, by linear CKA (unbiased, from mini-batches). Draws the grid, and writes the "
        "matrix beside it as JSON. Images are prepared as the first network wants them.",
    )
    parser.add_argument(
        "name", metavar="NAME", help="a registered name, or hf-hub:... or local-dir:..."
    )
    parser.add_argument("--against", metavar="NAME", help="compare with this network's layers")
    parser.add_argument(
        "--pretrained",
        action="store_true",
        help="with the weights of an architecture's default tag, not random ones; names of "
        "weights (NAME.TAG, hf-hub:, local-dir:) always have theirs",
    )
    parser.add_argument(
        "--layers",
        metavar="PATTERN",
        nargs="+",
        help="module paths, or patterns such as 'layer3.*' for convolutions (default: all "
        "convolutions, and the linear layers of stages)",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="image folder, parquet files or Hub id (default: the embedded Fashion-MNIST sample)",
    )
    parser.add_argument("--split", metavar="NAME", help="of the data (default: test, if any)")
    for option, default, text in (
        ("--images", 512, "drawn at random from the split"),
        ("--batch-size", 64, "images compared with each other at a time, 4 or more"),
    ):
        text += " (default: %(default)s)"
        parser.add_argument(option, metavar="N", type=positive, default=default, help=text)
    parser.add_argument("--workers", metavar="N", type=int, default=0, help="processes that load")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the choice of images and of random weights"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        type=Path,
        help="take the matrix from the JSON file of an earlier run, and measure nothing",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=picture,
        default=Path("cka.png"),
        help="the picture; the matrix goes beside it as .json (default: %(default)s)",
    )
    parser.add_argument(
        "--suggest",
        metavar="SAVING",
        type=float,
        help="print a sharing plan of similar layers that saves this part of the parameters",
    )
    parser.add_argument(
        "--across-roles",
        action="store_true",
        help="with --suggest: conv1 and conv2 of a block may share too, as in kdna_resnet18",
    )
    parser.add_argument(
        "--norm",
        choices=get_args(NormName),
        default="batch",
        help="with --suggest: norm inside the channel attention (default: %(default)s)",
    )
    parser.add_argument("--markdown", action="store_true", help="Markdown, on a terminal too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure or read, draw, write, suggest."""
    from kdna_zoo.cli.app import require_extra

    require_extra("kdna-zoo cka", "train", PACKAGES)
    _check(args)
    from kdna_zoo.analysis.cka.plot import draw_cka

    beside = args.out.with_suffix(".json")
    with to_write(args.out) as out, to_write(None if args.source else beside) as json_file:
        cka = _read(args) if args.source else _measure(args)
        plan = _suggest(args, cka) if args.suggest is not None else None
        assert out
        draw_cka(cka, out)
        if json_file:
            data = {"command": args.line, **cka.to_dict(), **_circumstances(args)}
            data["plan"] = plan.to_dict() if plan else None
            json_file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    _report(args, cka)
    print(f"Wrote {args.out}" + ("." if args.source else f" and {beside}."))
    if plan:
        _report_plan(args, cka, plan)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.suggest is not None and args.against:
        raise UserError("--suggest needs a network's CKA with itself; leave --against away")
    if args.suggest is not None and not 0 < args.suggest < 1:
        raise UserError(f"--suggest takes a part between 0 and 1, such as 0.2; got {args.suggest}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; leave --device away")
    if args.workers < 0:
        raise UserError(f"--workers must be 0 or more, got {args.workers}")


def _read(args: argparse.Namespace) -> Cka:
    cka = read_cka(args.source)
    for given, there in zip((args.name, args.against), cka.networks, strict=True):
        if given and given != there:
            raise UserError(f"{args.source} is the CKA of {there}, not of {given}")
    return cka


def _measure(args: argparse.Namespace) -> Cka:
    from kdna_zoo.cli._images import load_images

    network = _create(args.name, args)
    other = _create(args.against, args) if args.against else None
    say_random(n for n in (args.name, args.against) if n and not _has_weights(n, args))
    layers = choose_layers(network, args.layers)  # mistakes are found before the data is opened
    if other is not None:
        _ = choose_layers(other, args.layers)
        _agree(args, network, other)
    if args.suggest is not None:  # what cannot be is said before all is measured
        paths = tuple(layers)
        _suggest(args, Cka((args.name,) * 2, paths, paths, torch.eye(len(paths)), 0, 0))
    images = load_images(
        network, args.data, args.split, args.images, args.batch_size, args.workers, args.seed
    )
    size = " x ".join(map(str, input_size(network)))
    about = (
        f"{images.count:,} images of {images.title}, {size}\n"
        f"batches of {args.batch_size}, {_weights(args)}, seed {args.seed}"
    )
    names = (args.name, args.against or args.name)
    with progress() as report:
        batches = _told(images.loader, report)
        return measure_cka(network, batches, args.layers, other, args.layers, names, about)


def _create(name: str, args: argparse.Namespace) -> nn.Module:
    torch.manual_seed(args.seed)
    return create_network(name, pretrained=_has_weights(name, args)).to(args.device)


def _has_weights(name: str, args: argparse.Namespace) -> bool:
    return bool(args.pretrained) or stands_for_weights(name)


def _weights(args: argparse.Namespace) -> str:
    have = {_has_weights(name, args) for name in (args.name, args.against) if name}
    if have == {True, False}:
        random = args.against if _has_weights(args.name, args) else args.name
        return f"random weights of {random}"
    return "pretrained weights" if have == {True} else "random weights"


def _agree(args: argparse.Namespace, network: nn.Module, other: nn.Module) -> None:
    """Say which network's images both see; refuse another number of channels."""
    ours, theirs = input_size(network), input_size(other)
    if ours[0] != theirs[0]:
        raise UserError(
            f"{args.name} takes {ours[0]} channels and {args.against} {theirs[0]}: they cannot see "
            "the same images"
        )
    first, second = _preparation(network), _preparation(other)
    differ = [key for key in first if first[key] != second[key]]
    if differ:
        print(
            f"kdna-zoo: both networks see images as {args.name} wants them; {args.against} has "
            f"another {', '.join(differ)}",
            file=sys.stderr,
        )


def _preparation(network: nn.Module) -> dict[str, Any]:
    """Return how the network wants its images; a config.json has lists where timm has tuples."""
    config = cast(dict[str, Any], network.pretrained_cfg)
    keys = ("input_size", "mean", "std", "interpolation", "crop_pct")
    found = {key: config.get(key) for key in keys}
    return {key: tuple(v) if isinstance(v, list) else v for key, v in found.items()}


def _told(loader: Iterable[Any], report: Callable[[str], None]) -> Iterator[Any]:
    for index, batch in enumerate(loader, start=1):
        report(f"batch {index} of {len(loader)} ...")  # type: ignore[arg-type]
        yield batch


def _circumstances(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "weights": [
            "pretrained" if _has_weights(name, args) else "random"
            for name in (args.name, args.against or args.name)
        ],
        "data": args.data,
        "split": args.split,
        "seed": args.seed,
        "hardware": hardware(args.device),
        "versions": versions_of_measurement(),
    }


def _suggest(args: argparse.Namespace, cka: Cka) -> SharingPlan:
    network = create_network(args.name, device="meta")
    return suggest_plan(cka, network, args.suggest, across_roles=args.across_roles, norm=args.norm)


def _report(args: argparse.Namespace, cka: Cka) -> None:
    first, second = cka.networks
    off = ~torch.eye(len(cka.rows), dtype=torch.bool)
    values = cka.matrix[off] if cka.is_of_one else cka.matrix.flatten()
    if cka.is_of_one:
        print(f"{first}: {len(cka.rows)} layers")
    else:
        print(f"{first}, {len(cka.rows)} layers, against {second}, {len(cka.columns)} layers")
    print(cka.about.replace("\n", ", "))
    if not values.isnan().all():
        between = "different layers" if cka.is_of_one else "layers of the two"
        print(f"Mean CKA between {between}: {float(values.nanmean()):.3f}")


def _report_plan(args: argparse.Namespace, cka: Cka, plan: SharingPlan) -> None:
    rows = [
        (
            f"`{share.child}`",
            f"`{share.parent}`",
            str(share.reduction),
            f"{float(cka.matrix[cka.rows.index(share.child), cka.rows.index(share.parent)]):.3f}",
        )
        for share in plan
    ]
    print()
    print_table(("child", "parent", "r", "CKA"), rows, ("child", "parent"), args.markdown)
    network = create_network(args.name, device="meta")
    before = sum(p.numel() for p in network.parameters())
    after = sum(p.numel() for p in share_kernels(network, plan).parameters())
    print(f"\nSaves {1 - after / before:.1%} of {before:,} parameters, adapters counted.")
    print("Train with it: a KernelDNA network of these depths, and")
    print(f"--model.arch_args.plan {shlex.quote(json.dumps(plan.to_dict()))}")
