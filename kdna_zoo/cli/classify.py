"""``kdna-zoo classify``: what a published network says of pictures."""

import argparse
import glob
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn

from kdna_zoo.cli._networks import create_network
from kdna_zoo.cli._options import positive
from kdna_zoo.cli._output import print_json
from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError
from kdna_zoo.printable import printable

BATCH = 32  # images at a time


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "classify",
        help=COMMANDS["classify"],
        description="Classify pictures with a published network: the likeliest classes of each.",
    )
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="file, folder (searched in depth) or glob"
    )
    parser.add_argument(
        "--model",
        metavar="TAG",
        required=True,
        help="such as kdna_resnet18.fmnist, hf-hub:ORG/NAME or local-dir:FOLDER",
    )
    parser.add_argument(
        "--top", metavar="K", type=positive, default=5, help="classes shown (default: %(default)s)"
    )
    parser.add_argument(
        "--device", type=_device, default="cpu", help="where to compute (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="JSON, for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the classes; 1 if some pictures could not be read."""
    files, passed_over = find_images(args.images)
    for sentence in passed_over:
        print(f"kdna-zoo: {sentence}", file=sys.stderr)
    network = create_network(args.model, pretrained=True).to(args.device)
    rows = list(classify(network, files, args.top, args.device))
    if args.json:
        print_json(rows)
    for row in rows if not args.json else []:
        if "error" in row:
            unread = printable(f"cannot read {row['image']}: {row['error']}")
            print(f"kdna-zoo: {unread}", file=sys.stderr)
            continue
        print(printable(row["image"]))
        for entry in row["classes"]:
            print(f"  {entry['probability']:7.2%}  {printable(entry['name'])}")
    return 1 if any("error" in row for row in rows) else 0


def find_images(places: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Find the files that files, folders and globs stand for, each once.

    Folders are searched by the rules of training data (`kdna_zoo.data.sources.pictures`).

    Returns:
        The files, and for each folder where something was passed over a sentence that says so.

    Raises:
        UserError: If there is nothing in one of those places.
    """
    from kdna_zoo.data.sources.pictures import find_pictures

    found: dict[Path, None] = {}
    said = []
    for place in places:
        path, passed = Path(place).expanduser(), ""
        if path.is_dir():
            files, passed_over = find_pictures(path)
            passed = str(passed_over)
        elif path.is_file():
            files = [path]
        else:
            matches = sorted(glob.glob(str(path), recursive=True))
            files = [Path(match) for match in matches if Path(match).is_file()]
        if not files:
            what = "no pictures in the folder" if path.is_dir() else "no file, folder or match of"
            also = f" (passed over: {passed})" if passed else ""
            raise UserError(f"{what} {place}{also}; give picture files, folders, or a quoted glob")
        if passed:
            said.append(f"passed over in {place}: {passed}")
        found.update(dict.fromkeys(files))
    return list(found), said


def classify(
    network: nn.Module, files: Iterable[Path], top: int, device: str = "cpu"
) -> Iterator[dict[str, Any]]:
    """Say for each file its most probable classes, or why it could not be read.

    Args:
        network: A network in eval mode, with timm's ``pretrained_cfg``.
        files: Pictures.
        top: How many classes.
        device: Where the network is.
    """
    config = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    transform: Any = create_transform(**config, is_training=False)
    mode = "RGB" if config["input_size"][0] == 3 else "L"
    names = class_names(network)
    queue = iter(files)
    while batch := list(islice(queue, BATCH)):
        pictures = [_read(file, mode) for file in batch]
        images = [transform(p) for p in pictures if isinstance(p, Image.Image)]
        with torch.inference_mode():
            stacked = torch.stack(images).to(device) if images else None
            shares = iter(network(stacked).softmax(dim=1).cpu()) if images else iter(())
        for file, picture in zip(batch, pictures, strict=True):
            if isinstance(picture, str):
                yield {"image": str(file), "error": picture}
            else:
                yield {"image": str(file), "classes": _best(next(shares), names, top)}


def class_names(network: nn.Module) -> list[str]:
    """Return the classes' names: the network's own, those of ImageNet, or their numbers."""
    config: Any = network.pretrained_cfg
    names = list(config.get("label_names") or [])
    descriptions = config.get("label_descriptions") or {}
    if names:
        return [str(descriptions.get(name, name)) for name in names]
    classes = int(config["num_classes"])
    if classes == 1000:
        imagenet = timm.data.ImageNetInfo()
        return [imagenet.index_to_description(index) for index in range(classes)]
    return [f"class {index}" for index in range(classes)]


def _device(text: str) -> str:
    """Read a device that PyTorch can use on this machine, as the type of an option."""
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be used here ({reason}); give cpu, or cuda with a GPU"
        ) from error
    return text


def _best(shares: Tensor, names: list[str], top: int) -> list[dict[str, Any]]:
    values, indices = shares.topk(min(top, len(shares)))
    return [
        {"index": index, "name": (names[index:] or [f"class {index}"])[0], "probability": value}
        for value, index in zip(values.tolist(), indices.tolist(), strict=True)
    ]


def _read(file: Path, mode: str) -> Image.Image | str:
    """Read a picture as training does: upright, in 8 bits; or say what is wrong with it."""
    from kdna_zoo.data.decode import decode_image

    def tell(doubt: str) -> None:
        print(f"kdna-zoo: {printable(doubt)}", file=sys.stderr)

    try:
        return decode_image({"bytes": None, "path": str(file)}, mode, tell)
    except UserError as error:
        return str(error)
