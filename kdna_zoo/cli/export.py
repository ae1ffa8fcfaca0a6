"""``kdna-zoo export``: a network as one file for deployment, checked before it says done."""

import argparse
import re
import time
from pathlib import Path
from typing import Any, get_args

from torch import nn

from kdna_zoo import fuse
from kdna_zoo.cli._networks import create_network, input_size, say_random
from kdna_zoo.cli._options import check_place, positive
from kdna_zoo.cli._preparation import describe_network
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError
from kdna_zoo.names import stands_for_weights
from kdna_zoo.peers import DynamicConv2d
from kdna_zoo.release.onnx import (
    DEFAULT_LIMIT,
    DEFAULT_OPSET,
    FORMATS,
    Check,
    Request,
    check_opset,
    export_network,
)
from kdna_zoo.sharing.deploy import Keep

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "export",
        help=COMMANDS["export"],
        description="Write a network as one file, read it back and compare its output with the "
        "network's. The batch size stays free; nothing is written if the two differ.",
    )
    parser.add_argument(
        "name", metavar="NAME", help="a registered name, or hf-hub:... or local-dir:..."
    )
    parser.add_argument("--format", choices=tuple(FORMATS), required=True)
    parser.add_argument(
        "--pretrained",
        action="store_true",
        help="with the weights of an architecture's default tag, not random ones; names of "
        "weights (NAME.TAG, hf-hub:, local-dir:) always have theirs",
    )
    parser.add_argument(
        "--fuse",
        choices=get_args(Keep),
        help="in its deployed form: `speed` gives each child a kernel of its own and folds the "
        "batch norms, `size` keeps shared 1x1 kernels shared (default: as in training)",
    )
    parser.add_argument(
        "--to", metavar="FILE", type=Path, help="(default: the name and the format, in this folder)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the file if it is there already"
    )
    parser.add_argument(
        "--batch",
        metavar="N",
        type=_batch,
        default="any",
        help="batch size that the file takes (default: %(default)s)",
    )
    parser.add_argument(
        "--img-size",
        metavar="PIXELS",
        type=positive,
        help="height and width of the images (default: the network's own)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=positive,
        default=DEFAULT_LIMIT,
        help="give up if the exporter has not ended by then (default: %(default)s)",
    )
    parser.add_argument(
        "--opset", metavar="N", type=int, help=f"of ONNX (default: {DEFAULT_OPSET})"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file and tell what it is."""
    if args.format == "onnx":
        from kdna_zoo.cli.app import require_extra

        require_extra("kdna-zoo export --format onnx", "export", ONNX_PACKAGES)
    _check_options(args)
    file = args.to or Path(_default_name(args))
    _check_target(file, args.overwrite)
    args.pretrained = args.pretrained or stands_for_weights(args.name)
    model = _build(args, args.pretrained)
    _check_batch(args, model)
    if not args.pretrained:
        say_random([args.name])
    size = input_size(model)
    if args.img_size:
        size = (size[0], args.img_size, args.img_size)
    request = Request(
        model=model,
        rebuild=lambda: _build(args, pretrained=False),
        input_size=size,
        batch=None if args.batch == "any" else args.batch,
        opset=args.opset or DEFAULT_OPSET,
        limit=args.timeout,
        metadata={
            **describe_network(model, size, args.pretrained),
            "fuse": args.fuse or "none",
        },
    )
    started = time.perf_counter()
    check = export_network(request, file, args.format)
    seconds = time.perf_counter() - started
    for line in _report(args, request, check, file, seconds):
        print(line)
    return 0


def _build(args: argparse.Namespace, pretrained: bool) -> nn.Module:
    model = create_network(args.name, pretrained)
    return fuse(model, keep=args.fuse) if args.fuse else model


def _check_options(args: argparse.Namespace) -> None:
    if args.opset is not None and args.format != "onnx":
        raise UserError(f"--opset is for --format onnx, not {args.format}; leave it away")
    if args.opset is not None:
        check_opset(args.opset)
    if args.batch != "any" and args.format == "safetensors":
        raise UserError("--batch is for onnx and pt2: safetensors takes any batch; leave it away")


def _check_batch(args: argparse.Namespace, model: nn.Module) -> None:
    """Refuse what the exporter would look for in vain, and for minutes."""
    if args.format != "onnx" or args.batch != "any":
        return
    for path, module in model.named_modules():
        if isinstance(module, DynamicConv2d) and module.counts_images:
            raise UserError(
                f"give --batch N, the number of images at a time: {path} of {args.name}, a "
                f"{type(module).__name__}, has a kernel for each image and convolves them as so "
                "many groups, and ONNX fixes the number of groups. --format pt2 keeps it free"
            )


def _check_target(file: Path, overwrite: bool) -> None:
    """Find out what can be found before the work: the rest is found when writing."""
    check_place(file)
    if file.exists() and not overwrite:
        raise UserError(f"{file} is there already; give another --to, or --overwrite to replace it")


def _default_name(args: argparse.Namespace) -> str:
    """``kdna_resnet18-speed.onnx``; for what lies somewhere, the last part of the place."""
    place = args.name.partition(":")[2] or args.name
    name = re.sub(r"@.*", "", place).rstrip("/").rpartition("/")[2] or "network"
    return f"{name}{f'-{args.fuse}' if args.fuse else ''}.{args.format}"


def _batch(text: str) -> int | str:
    return text if text == "any" else positive(text)


def _report(
    args: argparse.Namespace, request: Request, check: Check, file: Path, seconds: float
) -> list[str]:
    batches = " and ".join(map(str, check.batches))
    takes = f"{args.batch} x {' x '.join(map(str, request.input_size))}"
    opset = f" opset {request.opset}" if args.format == "onnx" else ""
    form = f", fused for {args.fuse}" if args.fuse else ""
    weights = "trained weights" if args.pretrained else "RANDOM WEIGHTS (see --pretrained)"
    return [
        f"Wrote {file}",
        f"  {args.name}{form}, {weights}",
        f"  {args.format}{opset}, {file.stat().st_size:,} bytes, images {takes}, {seconds:.0f} s",
        f"  read back and run at batch {batches}: {_difference(check)}",
        "Load it in Python:",
        *(f"  {line}" for line in _how_to_load(args, file)),
    ]


def _difference(check: Check) -> str:
    if check.difference == 0:
        return "no difference"
    share = f"{check.relative:.1e} of the largest logit"
    return f"largest difference {check.difference:.1e}, {share}"


def _how_to_load(args: argparse.Namespace, file: Path) -> list[str]:
    if args.format == "onnx":
        return [f"import onnxruntime; session = onnxruntime.InferenceSession({str(file)!r})"]
    if args.format == "pt2":
        return [f"import torch; model = torch.export.load({str(file)!r}).module()"]
    create = f"timm.create_model({args.name!r}).eval()"
    if args.fuse:
        create = f"kdna_zoo.fuse({create}, keep={args.fuse!r})"
    return [
        f"import kdna_zoo, timm, safetensors.torch; model = {create}",
        f"model.load_state_dict(safetensors.torch.load_file({str(file)!r}))",
    ]
