"""Writes the folder that a model repository on the Hub would hold.

    model.safetensors, config.json   the network, as timm loads it
    README.md                        the model card
    recipe.yaml                      the resolved configuration that trained it, if it had one
    metrics.json                     its figures, and on what they were measured
    LICENSE                          that of the weights
    conversion.png                   of a converted network: what each step and layer cost

`write_files` fills a given folder; `write_folder` puts a whole one at a place on this machine.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from kdna_zoo.atomic import replaced_folder
from kdna_zoo.errors import UserError
from kdna_zoo.records.record import Measured
from kdna_zoo.release.card import release_tag, render_card
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.license import checked_license, license_text
from kdna_zoo.release.options import Release
from kdna_zoo.release.portable import portable
from kdna_zoo.release.timm_format import export_timm

FILES = (
    *("LICENSE", "README.md", "config.json", "metrics.json", "model.safetensors", "recipe.yaml"),
    "conversion.png",
)
OPTIONAL = ("recipe.yaml", "conversion.png")  # of a run from the command line; of a conversion

Measure = Callable[[Path], Measured]
PLAIN = Release()


def write_folder(
    trained: TrainedModel,
    folder: str | PathLike[str],
    overwrite: bool = False,
    about: Release = PLAIN,
    measure: Measure | None = None,
) -> Path:
    """Publish a trained network into a folder, all of it or nothing.

    Args:
        trained: The network and its record.
        folder: Where to; absent or empty, unless `overwrite`.
        overwrite: Whether a folder published before may be replaced. Nothing else ever is.
        about: What the publisher adds.
        measure: Measures the written files, given their folder; None: the training's figures hold.

    Returns:
        The folder's absolute path.

    Raises:
        UserError: The target cannot be used; it is as it was before.
    """
    about = replace(about, license=checked_license(about.license))
    return write_target(
        folder, overwrite, lambda fresh: write_files(trained, fresh, about, measure)
    )


def write_target(
    folder: str | PathLike[str], overwrite: bool, write: Callable[[Path], None]
) -> Path:
    """Put a folder of a release in its place once `write` has filled it, or leave all as it was.

    Args:
        folder: Where to; absent or empty, unless `overwrite`.
        overwrite: Whether a folder published before may be replaced. Nothing else ever is.
        write: Fills an empty folder, given as its argument.

    Returns:
        The folder's absolute path.

    Raises:
        UserError: The target cannot be used, or not be written.
    """
    target = Path(folder).resolve()
    try:
        with replaced_folder(target) as fresh:
            check_target(target, overwrite)
            write(fresh)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {target}: {error}") from error
    return target


def check_folder(folder: Path) -> None:
    """Check that a folder holds the files of a release, but for those that not each has.

    Raises:
        UserError: If not.
    """
    missing = [n for n in FILES if n not in OPTIONAL and not (folder / n).is_file()]
    if missing:
        raise UserError(
            f"{folder} is no published folder: it lacks {', '.join(missing)}. Make one with"
            " `kdna-zoo publish CKPT --to FOLDER`"
        )


def write_files(
    trained: TrainedModel, folder: Path, about: Release = PLAIN, measure: Measure | None = None
) -> None:
    """Fill an existing, empty folder with the files of a release and check that timm loads it."""
    trained = _portable_run(trained)
    record, license = trained.record, about.license
    about = replace(about, tag=about.tag or release_tag(record))
    if about.conversion:
        about = replace(about, conversion=_portable_conversion(about.conversion))
    export_timm(trained.model, record, folder, str(about.tag), license, about.half)
    if measure:
        about = replace(about, measured=measure(folder))
        record = replace(record, metrics=about.measured.metrics or record.metrics)
        trained = replace(trained, record=record)
    if record.run.recipe:
        _write(folder / "recipe.yaml", record.run.recipe)
    source = about.conversion["source"]["name"] if about.conversion else None
    data = record.data
    _write(folder / "LICENSE", license_text(license, data.name, data.license, source))
    write_about(trained, folder, about)


def write_about(trained: TrainedModel, folder: Path, about: Release) -> None:
    """Write the figures and the card of a release, which hold all that may be added to it later."""
    _write(folder / "metrics.json", json.dumps(_figures(trained, about), indent=2))
    _write(folder / "README.md", render_card(trained, about))


def _portable_run(trained: TrainedModel) -> TrainedModel:
    run = trained.record.run
    command, recipe = (text and portable(text) for text in (run.command, run.recipe))
    recipes, arguments = (
        words and [portable(word) for word in words] for words in (run.recipes, run.arguments)
    )
    run = replace(run, command=command, recipe=recipe, recipes=recipes, arguments=arguments)
    return replace(trained, record=replace(trained.record, run=run))


def _portable_conversion(conversion: Mapping[str, Any]) -> dict[str, Any]:
    source = conversion["source"]
    named = {**source, "name": portable(source["name"])}
    return {**conversion, "source": named, "command": portable(conversion["command"])}


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")


def _figures(trained: TrainedModel, about: Release) -> dict[str, Any]:
    """Collect what was measured, and the data, seed, hardware and versions that belong to it."""
    record, measured = asdict(trained.record), about.measured
    run, data = record["run"], record["data"]
    del run["recipe"], run["folder"]  # one has a file of its own, the other is the trainer's
    del data["path"]  # a place on the trainer's machine
    return {
        "arch": record["arch"],
        "weights": trained.weights,
        "metrics": record["metrics"],
        "measured_on": measured.hardware if measured.metrics else record["run"]["hardware"],
        "throughput": asdict(measured.throughput) if measured.throughput else None,
        "seeds": asdict(about.seeds) if about.seeds else None,
        "control": asdict(about.control) if about.control else None,
        "precision": "float16" if about.half else "float32",
        **({"conversion": dict(about.conversion)} if about.conversion else {}),
        "data": data,
        "run": run,
    }


def check_target(target: Path, overwrite: bool) -> None:
    """Make sure that nothing is replaced but a release, and that only when asked for.

    Raises:
        UserError: If something is in the way.
    """
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
