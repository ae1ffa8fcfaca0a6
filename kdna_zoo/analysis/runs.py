"""Finished runs as figures: what each one's ``result.json`` says, read and checked."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdna_zoo.errors import UserError

RESULT = "result.json"
FORMAT = 1  # of result.json, which kdna_zoo.training.summary writes


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        network: The registered name, with the arguments that it was made with.
        parameters: How many it has.
        seed: What its randomness followed from.
        top1: Accuracy at its end, as a fraction from 0 to 1.
        setting: What runs must have in common to be compared: data, images, steps and so on.
        source: The file.
        raw: All that the file says.
    """

    network: str
    parameters: int
    seed: int
    top1: float
    setting: Mapping[str, Any]
    source: Path
    raw: Mapping[str, Any]


def find_runs(places: Iterable[Path]) -> list[Run]:
    """Read the runs in some places, each a ``result.json`` or a folder with some in it.

    Raises:
        UserError: If there are none in a place, or one cannot be compared.
    """
    files: list[Path] = []
    for place in places:
        found = sorted(place.rglob(RESULT)) if place.is_dir() else [place] * place.is_file()
        if not found:
            raise UserError(
                f"there is no {RESULT} in {place}: give the folders of finished runs, where"
                " `kdna-zoo fit` has left one"
            )
        files += [file for file in map(Path.resolve, found) if file not in files]
    return [read_run(file) for file in files]


def read_run(file: Path) -> Run:
    """Read a ``result.json``.

    Raises:
        UserError: If it cannot be read, is of another version, or its run measured nothing.
    """
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT or "parameters" not in raw:
        raise UserError(
            f"{file} has format {version!r} or comes from an older kdna-zoo; this one reads format"
            f" {FORMAT} with parameters, data and arguments: train again with this version"
        )
    try:
        return _run_of(raw, file)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({type(error).__name__}: {error})") from error


def _run_of(raw: Mapping[str, Any], file: Path) -> Run:
    final = raw["final"]
    if final is None or final["step"] != raw["steps"] or raw["seed"] is None:
        raise UserError(
            f"the run of {file} has no accuracy at its end or no seed: let it validate after its"
            " last epoch, and give --seed_everything"
        )
    setting = {
        "data": raw["data"],
        "split": final["split"],
        "images": final["images"],
        "epochs": raw["epochs"],
        "effective batch": raw["batch_size"] * raw["accumulate"] * raw["devices"],
    }
    arguments = ", ".join(f"{key}={value}" for key, value in sorted(raw["arch_args"].items()))
    return Run(
        network=f"{raw['arch']} ({arguments})" if arguments else raw["arch"],
        parameters=raw["parameters"],
        seed=raw["seed"],
        top1=final["top1"],
        setting=setting,
        source=file,
        raw=raw,
    )
