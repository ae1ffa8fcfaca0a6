"""Writes what the weights manifest says of a release, from the files of its folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdna_zoo.atomic import replaced_file
from kdna_zoo.errors import UserError
from kdna_zoo.models.fetch import file_sha256
from kdna_zoo.models.published import CONFIG, own_arguments
from kdna_zoo.models.weights import (
    FILE,
    ORGANISATION,
    PublishedWeights,
    read_manifest,
    write_manifest,
)
from kdna_zoo.paths import checkout, published_folder
from kdna_zoo.records.record import DATA_CONFIG_KEYS, parse_run, recipes_of


def folder_name(folder: Path) -> str:
    """Return the ``network.tag`` that a published folder holds.

    Raises:
        UserError: If it is no published folder.
    """
    config = _read(folder / CONFIG)
    with _complete(folder / CONFIG):
        return f"{config['architecture']}.{config['pretrained_cfg']['tag']}"


def describe_folder(
    folder: Path,
    repo_id: str | None = None,
    revision: str | None = None,
    version: str | None = None,
) -> PublishedWeights:
    """Return what the manifest says of a published folder.

    Args:
        folder: The folder.
        repo_id: Where its files lie on the Hub; None: where they are meant to.
        revision: The commit there; None: not there yet.
        version: The Hub's tag of that commit.

    Raises:
        UserError: If its files do not say all of it.
    """
    config, figures = _read(folder / CONFIG), _read(folder / "metrics.json")
    with _complete(folder / CONFIG, folder / "metrics.json"):
        source = config["pretrained_cfg"]
        data, run = figures["data"], figures["run"]
        recipes = recipes_of(parse_run(run))
        return PublishedWeights(
            repo_id=repo_id or f"{ORGANISATION}/{folder_name(folder)}",
            revision=revision,
            version=version,
            sha256=file_sha256(folder / FILE),
            size=(folder / FILE).stat().st_size,
            config_sha256=file_sha256(folder / CONFIG),
            arch_args=own_arguments(config),
            num_classes=config["num_classes"],
            label_names=config["label_names"],
            data_config={key: source[key] for key in DATA_CONFIG_KEYS},
            license=source["license"],
            dataset=data["hub_id"] or ", ".join(data["sources"] or []) or data["name"],
            recipe=recipes[-1] if recipes else None,
            metrics=_metrics(figures),
        )


def update_manifest(name: str, weights: PublishedWeights) -> Path:
    """Write an entry into the manifest of this checkout, in place of one of that name.

    Returns:
        The manifest's path.

    Raises:
        UserError: If this is an installed package, whose manifest is not for writing, or if nobody
            would find the weights: they are neither on the Hub nor in the checkout.
    """
    path = manifest_to_write()
    if weights.revision is None and published_folder(name) is None:
        raise UserError(
            f"weights that are not on the Hub are looked for in hub/{name} of the checkout, and"
            f" they are not there: give --repo, or publish with --to {path.parents[2]}/hub/{name}"
        )
    entries = {**read_manifest(path), name: weights}
    with replaced_file(path) as fresh:
        write_manifest(entries, fresh)
    return path


def manifest_to_write() -> Path:
    """Return the manifest of this checkout.

    Raises:
        UserError: If this is an installed package.
    """
    top = checkout()
    if top is None:
        raise UserError(
            "--update-manifest writes kdna_zoo/models/weights.json of a checkout, and this kdna-zoo"
            " is installed: run it from a checkout (`pip install -e .`)"
        )
    return top / "kdna_zoo" / "models" / "weights.json"


def _metrics(figures: dict[str, Any]) -> dict[str, Any] | None:
    measured = figures["metrics"]
    if measured is None:
        return None
    series = figures.get("seeds")
    named = list(series["top1"]) if series else [figures["run"]["seed"]]
    seeds = [int(seed) if str(seed).isdigit() else seed for seed in named]
    return {**measured, "seeds": seeds}


@contextmanager
def _complete(*files: Path) -> Iterator[None]:
    """Turn an entry that is not in one of the files into an error for the user."""
    try:
        yield
    except (KeyError, TypeError) as error:
        names = " or ".join(file.name for file in files)
        raise UserError(
            f"{files[0].parent} is no published folder: {names} lacks {error}. Make one with"
            " `kdna-zoo publish CKPT --to FOLDER`"
        ) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file.parent} is no published folder: {file.name} cannot be read ({error}). Make one"
            " with `kdna-zoo publish CKPT --to FOLDER`"
        ) from error
    return content
