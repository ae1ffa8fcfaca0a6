"""`kdna-zoo publish`: a checkpoint becomes a folder that timm loads, and goes to the Hub."""

import argparse
import json
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdna_zoo.cli.commands import COMMANDS
from kdna_zoo.errors import UserError
from kdna_zoo.interrupts import leaving
from kdna_zoo.printable import printable

if TYPE_CHECKING:
    from kdna_zoo.release.checkpoint import TrainedModel
    from kdna_zoo.release.hub import Outcome

OF_A_CHECKPOINT = ("weights", "license", "tag_name", "half", "measure")


def add_parser(subparsers: Any) -> None:
    """Add the command and its options to the command line."""
    parser = subparsers.add_parser(
        "publish",
        help=COMMANDS["publish"],
        description="Write a checkpoint of `kdna-zoo fit` as a folder with weights, timm's"
        " config.json, model card, recipe, metrics and licence, and put it on the Hugging Face Hub;"
        " each is loaded back through timm and compared before it says done. A folder published"
        " before goes to the Hub as it is, or is written again (--to), with the figures of later"
        " runs (--seeds, --control) in its card. Linux and macOS only.",
    )
    parser.add_argument(
        "source", metavar="CKPT", help="the .ckpt file, or a folder published before"
    )
    parser.add_argument("--to", metavar="FOLDER", help="absent or empty folder")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a folder published before"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list the files and the card; write nothing"
    )
    _add_release(parser.add_argument_group("about the weights (of a checkpoint)"))
    _add_hub(parser.add_argument_group("the Hub; the token is that of HF_TOKEN or `hf auth login`"))
    parser.set_defaults(run=run)


def _add_release(group: Any) -> None:
    group.add_argument(
        "--weights",
        choices=("raw", "ema"),
        default="raw",
        help="as trained, or their running average (default: %(default)s)",
    )
    group.add_argument(
        "--tag-name",
        metavar="TAG",
        help="names the weights NETWORK.TAG (default: from --to or --repo, else the data set)",
    )
    group.add_argument(
        "--license",
        default="apache-2.0",
        help="licence of the weights, an identifier of the Hub (default: %(default)s)",
    )
    group.add_argument(
        "--measure",
        action="store_true",
        help="measure the written files here, on the images that the training validated on",
    )
    group.add_argument(
        "--half",
        action="store_true",
        help="round to half precision, if that moves top-1 by 0.05 points at most (measures)",
    )
    for option, what in (
        ("--seeds", "this recipe, with other seeds"),
        ("--control", "the equal-depth control"),
    ):
        group.add_argument(
            option, metavar="CKPT", nargs="+", default=[], help=f"last.ckpt of {what}, for the card"
        )


def _add_hub(group: Any) -> None:
    group.add_argument("--repo", metavar="ORG/NAME", help="publish to this repository")
    group.add_argument("--private", action="store_true", help="if it has to be made")
    group.add_argument("--pr", action="store_true", help="propose the files as a pull request")
    group.add_argument("--tag", metavar="V1", help="name the new revision")
    group.add_argument(
        "--overwrite-card", action="store_true", help="even if a person edited it on the Hub"
    )
    group.add_argument(
        "--update-manifest",
        action="store_true",
        help="write weights, revision and sha256 into this checkout's kdna_zoo/models/weights.json",
    )


def run(args: argparse.Namespace) -> int:
    """Publish and tell what was done; a user's mistake is raised as a UserError."""
    from kdna_zoo.release.manifest import manifest_to_write
    from kdna_zoo.release.remote import check_access

    _check_options(args)
    if args.update_manifest:
        manifest_to_write()
    if args.repo and not args.dry_run:
        check_access(args.repo, args.pr)
    done: list[Path] = []  # the folder to go on from
    with leaving(lambda: _what_is_left(args, done)), _folder(args) as (folder, trained):
        done += [folder] if not trained or (args.to and not args.dry_run) else []
        for line in _files(folder):
            print(line)
        if args.dry_run:
            print(f"\n{printable(_card(args, folder), lines=True)}")
            return 0
        if trained:
            print(printable(_accuracy(trained, folder)))
        outcome = _push(args, folder) if args.repo else None
        if args.update_manifest:
            _update_manifest(args, folder, outcome)
        name = f"hf-hub:{args.repo}@{outcome.revision}" if outcome else f"local-dir:{folder}"
        print("Load it in Python:")
        print(f"  import kdna_zoo, timm; model = timm.create_model({name!r}, pretrained=True)")
    return 0


def _what_is_left(args: argparse.Namespace, done: list[Path]) -> str:
    """Say how to go on after an interrupt: what was written is not written again."""
    if not done:
        return "its files are as they were before; the same command begins again"
    on = ["--repo", args.repo] * bool(args.repo) + ["--tag", args.tag] * bool(args.tag)
    switches = ("private", "pr", "overwrite_card", "update_manifest")
    on += [f"--{name.replace('_', '-')}" for name in switches if getattr(args, name)]
    if not on:
        return f"{done[0]} is published whole"
    line = shlex.join(["kdna-zoo", "publish", str(done[0]), *on])
    return f"{done[0]} is whole; `{line}` does what is missing"


def _card(args: argparse.Namespace, folder: Path) -> str:
    """Return the card as it will be, which names the repository if there is to be one."""
    from kdna_zoo.release.signature import addressed

    card = (folder / "README.md").read_text(encoding="utf-8")
    return addressed(card, args.repo) if args.repo else card


def _check_options(args: argparse.Namespace) -> None:
    folder = Path(args.source).is_dir()
    if not (args.to or args.repo or args.dry_run or (folder and args.update_manifest)):
        raise UserError("say where to publish: --to FOLDER, --repo ORG/NAME, or --dry-run to look")
    if folder:
        parser = argparse.ArgumentParser()
        _add_release(parser.add_argument_group())
        defaults = vars(parser.parse_args([]))
        given = [name for name in OF_A_CHECKPOINT if getattr(args, name) != defaults[name]]
        if given:
            raise UserError(
                f"{args.source} is a published folder, whose weights stay as they are:"
                f" --{given[0].replace('_', '-')} is for a checkpoint"
            )
        if (args.seeds or args.control) and not args.to:
            raise UserError(
                f"{args.source} is a published folder: --to FOLDER writes it again, with the"
                " figures of --seeds or --control; give --to too"
            )
    hub_only = [name for name in ("private", "pr", "tag", "overwrite_card") if getattr(args, name)]
    if hub_only and not args.repo:
        raise UserError(f"--{hub_only[0].replace('_', '-')} is for the Hub: give --repo ORG/NAME")
    merged = [name for name in ("tag", "update_manifest") if getattr(args, name)]
    if args.pr and merged:
        raise UserError(
            f"--{merged[0].replace('_', '-')} is for a revision that stays, and a pull request's"
            " is another once it is merged: give it without --pr, after the merge"
        )


@contextmanager
def _folder(args: argparse.Namespace) -> "Iterator[tuple[Path, TrainedModel | None]]":
    """Yield the folder to publish: the given one, a new one, or one for the time being."""
    if Path(args.source).is_dir() and not args.to:
        from kdna_zoo.release.folder import check_folder
        from kdna_zoo.release.manifest import describe_folder

        folder = Path(args.source).resolve()
        check_folder(folder)
        describe_folder(folder)
        yield folder, None
        return
    from kdna_zoo.cli._release import write_release

    with tempfile.TemporaryDirectory() as scratch:
        here = args.to and not args.dry_run
        folder, trained = write_release(args, args.to if here else Path(scratch) / "release")
        if here:
            print(f"Published {_name(folder)} ({trained.weights} weights) in {folder}")
        yield folder, trained


def _push(args: argparse.Namespace, folder: Path) -> "Outcome":
    from kdna_zoo.release.hub import Target, push

    target = Target(args.repo, args.private, args.pr, args.tag, args.overwrite_card)
    outcome = push(folder, target)
    changed = f"changed {', '.join(outcome.changed)}" if outcome.changed else "nothing to change"
    print(f"On the Hub: {args.repo}@{outcome.revision} ({changed})")
    if args.tag:
        print(f"  tag {args.tag}")
    if outcome.card_kept:
        print("  README.md on the Hub was edited and stays; --overwrite-card replaces it")
    print(f"  {outcome.url}")
    if outcome.proposal:
        print(f"  pull request {outcome.proposal}")
    print("  read back through timm: the same logits on the example images")
    return outcome


def _update_manifest(args: argparse.Namespace, folder: Path, outcome: "Outcome | None") -> None:
    from kdna_zoo.release.manifest import describe_folder, folder_name, update_manifest

    revision = outcome.revision if outcome else None
    weights = describe_folder(folder, args.repo, revision, args.tag)
    print(f"Wrote {folder_name(folder)} into {update_manifest(folder_name(folder), weights)}")


def _name(folder: Path) -> str:
    from kdna_zoo.release.manifest import folder_name

    return folder_name(folder)


def _files(folder: Path) -> list[str]:
    from kdna_zoo.release.folder import FILES

    files = [folder / name for name in FILES if (folder / name).is_file()]
    return [f"  {file.name:<18} {file.stat().st_size:>12,} bytes" for file in files]


def _accuracy(trained: "TrainedModel", folder: Path) -> str:
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    if measured := figures["metrics"]:
        return (
            f"Top-1 accuracy: {100 * measured['top1']:.2f} % of {measured['images']:,} images"
            f" ({figures['data']['name']}, {measured['split']})"
        )
    if trained.averaged and trained.weights == "raw":
        return (
            "Top-1 accuracy: not measured; the run measured its average: use --weights ema for that"
        )
    return "Top-1 accuracy: not measured"
