"""Writes the folder that a model repository on the Hub would hold.

    model.safetensors, config.json   the network, as timm loads it
    README.md                        the model card
    recipe.yaml                      the resolved configuration that trained it, if it had one
    metrics.json                     its figures, and on what they were measured

`write_files` fills a given folder; `write_folder` puts a whole one at a place on this machine.
"""

import json
import re
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from kdna_zoo.atomic import replaced_folder
from kdna_zoo.errors import UserError
from kdna_zoo.release.card import release_tag, render_card
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.export import export_timm

FILES = ("README.md", "config.json", "metrics.json", "model.safetensors", "recipe.yaml")
DEFAULT_LICENSE = "apache-2.0"


def write_folder(
    trained: TrainedModel,
    folder: str | PathLike[str],
    overwrite: bool = False,
    license: str = DEFAULT_LICENSE,
) -> Path:
    """Publish a trained network into a folder, all of it or nothing.

    Args:
        trained: The network and its record.
        folder: Where to; absent or empty, unless `overwrite`.
        overwrite: Whether a folder published before may be replaced. Nothing else ever is.
        license: Licence of the weights, as an identifier of the Hub.

    Returns:
        The folder's absolute path.

    Raises:
        UserError: The target cannot be used; it is as it was before.
    """
    target = Path(folder).resolve()
    license = _checked_license(license)
    try:
        with replaced_folder(target) as fresh:
            _check_target(target, overwrite)
            write_files(trained, fresh, license)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {target}: {error}") from error
    return target


def write_files(trained: TrainedModel, folder: Path, license: str = DEFAULT_LICENSE) -> None:
    """Fill an existing, empty folder with the files of a release and check that timm loads it."""
    record = trained.record
    export_timm(trained.model, record, folder, release_tag(record), license)
    if record.run.recipe:
        _write(folder / "recipe.yaml", record.run.recipe)
    _write(folder / "metrics.json", json.dumps(_figures(trained), indent=2))
    _write(folder / "README.md", render_card(trained, license))


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")


def _figures(trained: TrainedModel) -> dict[str, Any]:
    """Collect what was measured, and the data, seed, hardware and versions that belong to it."""
    record = asdict(trained.record)
    run, data = record["run"], record["data"]
    del run["recipe"]  # has a file of its own
    del data["path"]  # a place on the trainer's machine
    return {
        "arch": record["arch"],
        "weights": trained.weights,
        "metrics": record["metrics"],
        "data": data,
        "run": run,
    }


def _check_target(target: Path, overwrite: bool) -> None:
    """Make sure that nothing is replaced but a release, and that only when asked for."""
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file. Give a folder that is absent or empty.")
    if Path.cwd().is_relative_to(target):
        raise UserError(
            f"{target} is or holds the folder you are in, and publishing replaces it as a whole."
            " Give another folder, or go to its parent first."
        )
    names = sorted(entry.name for entry in target.iterdir())
    if not names:
        return
    if not overwrite:
        raise UserError(
            f"{target} is not empty: it holds {_some(names)}."
            " Give a folder that is absent or empty, or --overwrite to replace a published one."
        )
    if "config.json" not in names:
        raise UserError(
            f"{target} is no published folder (it has no config.json, but {_some(names)}),"
            " so --overwrite does not touch it. Give another folder."
        )
    foreign = [name for name in names if name not in FILES]
    if foreign:
        raise UserError(
            f"{target} also holds {_some(foreign)}, which publishing did not write and"
            " --overwrite would lose. Move it away, or give another folder."
        )


def _some(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _checked_license(license: str) -> str:
    identifier = license.strip().lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", identifier):
        raise UserError(
            f"{license!r} is no licence identifier. The Hub knows apache-2.0, mit, cc-by-4.0,"
            " cc-by-nc-4.0, bsd-3-clause, openrail and more; use `other` for one it does not know."
        )
    return identifier
