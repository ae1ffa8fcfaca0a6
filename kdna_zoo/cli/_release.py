"""What `kdna-zoo publish` writes: the release of a checkpoint, or one written again."""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from kdna_zoo.cli._measure import measure_folder
from kdna_zoo.models.weights import ORGANISATION
from kdna_zoo.records.record import Record
from kdna_zoo.release.card import release_name
from kdna_zoo.release.checkpoint import TrainedModel, WeightKind, read_checkpoint
from kdna_zoo.release.folder import write_folder
from kdna_zoo.release.options import Release, make_series
from kdna_zoo.release.renewal import renew_folder

CONTROL = "control with a kernel of its own in each layer"


def write_release(args: argparse.Namespace, target: str | Path) -> tuple[Path, TrainedModel]:
    """Write the release of a checkpoint, or a published folder again with further figures."""
    if Path(args.source).is_dir():
        return renew_folder(Path(args.source), target, args.overwrite, partial(_renewed, args))
    trained = read_checkpoint(args.source, args.weights)
    measure = partial(measure_folder, record=trained.record, half=args.half)
    folder = write_folder(
        trained,
        target,
        overwrite=args.overwrite,
        about=_about(args, trained),
        measure=measure if args.measure or args.half else None,
    )
    return folder, trained


def _about(args: argparse.Namespace, trained: TrainedModel) -> Release:
    record = trained.record
    tag = args.tag_name or _tag_of_place(args, record.arch)
    seeds = [record, *_records(args.seeds, args.weights)]
    return Release(
        tag=tag,
        license=args.license,
        half=args.half,
        repo_id=_repo_id(args, trained, tag),
        seeds=make_series(record.arch, seeds) if args.seeds or args.control else None,
        control=make_series(CONTROL, _records(args.control, args.weights)),
    )


def _renewed(args: argparse.Namespace, trained: TrainedModel, before: Release) -> Release:
    record, weights = trained.record, trained.weights
    seeds = before.seeds
    if seeds is None and (record.metrics or args.seeds):
        seeds = make_series(record.arch, [record])
    return replace(
        before,
        repo_id=_repo_id(args, trained, before.tag),
        seeds=make_series(record.arch, _records(args.seeds, weights), seeds),
        control=make_series(CONTROL, _records(args.control, weights), before.control),
    )


def _records(checkpoints: list[str], weights: WeightKind) -> list[Record]:
    return [read_checkpoint(file, weights).record for file in checkpoints]


def _repo_id(args: argparse.Namespace, trained: TrainedModel, tag: str | None) -> str | None:
    """Return the repository that the card names: where the weights are or will be."""
    if args.repo or not args.update_manifest:
        return str(args.repo) if args.repo else None
    return f"{ORGANISATION}/{release_name(trained.record, tag)}"


def _tag_of_place(args: argparse.Namespace, arch: str) -> str | None:
    """Return what follows ``NETWORK.`` in the name of the folder or of the repository."""
    for place in (args.to, args.repo):
        network, _, tag = Path(place or "").name.partition(".")
        if network == arch and tag:
            return tag
    return None
