"""Finished runs as figures: what each one's ``result.json`` says, read and checked.

What ``kdna-zoo compare --json`` wrote holds the same of all its runs, and is read in their place.
Arguments of the network that all runs have are part of what they have in common, not of its name.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdna_zoo.errors import UserError
from kdna_zoo.records.formats import COMPARE, RESULT, RESULT_FORMAT, check_version, kind_of
from kdna_zoo.sharing import SharingPlan


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        network: The registered name, with the arguments that not all runs were made with.
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
    """Read the runs in some places.

    Args:
        places: Each a ``result.json``, a folder with some in it, or the JSON file of a comparison.

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
    return _named([run for file in files for run in read_runs(file)])


def read_runs(file: Path) -> list[Run]:
    """Read a ``result.json``, or all runs of a comparison.

    Raises:
        UserError: If it cannot be read, is of another version, or a run measured nothing.
    """
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    if kind_of(raw) == COMPARE:
        check_version(raw, str(file))
        if not isinstance(raw.get("runs"), list) or not raw["runs"]:
            raise UserError(f"{file} is a comparison of no runs")
        return [_read(run, file) for run in raw["runs"]]
    return [_read(raw, file)]


def _read(raw: Any, file: Path) -> Run:
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != RESULT_FORMAT or "parameters" not in raw:
        raise UserError(
            f"{file} has format {version!r} or comes from an older kdna-zoo; this one reads format"
            f" {RESULT_FORMAT} with parameters, data and arguments: train again with this version"
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
    if not isinstance(raw["arch_args"], Mapping):
        raise TypeError("arch_args is no mapping")
    setting = {
        "data": raw["data"],
        "split": final["split"],
        "images": final["images"],
        "epochs": raw["epochs"],
        "effective batch": raw["batch_size"] * raw["accumulate"] * raw["devices"],
    }
    return Run(
        network=raw["arch"] + in_brackets(raw["arch_args"]),
        parameters=raw["parameters"],
        seed=raw["seed"],
        top1=final["top1"],
        setting=setting,
        source=file,
        raw=raw,
    )


def _named(runs: list[Run]) -> list[Run]:
    """Take the arguments that all runs have out of the names, and into the setting."""
    first: Mapping[str, Any] = runs[0].raw["arch_args"]
    missing = object()
    common = {
        key: value
        for key, value in first.items()
        if all(run.raw["arch_args"].get(key, missing) == value for run in runs)
    }
    if not common:
        return runs
    shared = _written(common)
    return [
        replace(
            run,
            network=run.raw["arch"]
            + in_brackets({k: v for k, v in run.raw["arch_args"].items() if k not in common}),
            setting={**run.setting, "arguments": shared},
        )
        for run in runs
    ]


def differing_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return what the recipes of some runs differ in, and the values there are.

    The network, the seed and the place of the data are no part of it. A run of another program, or
    of a version that did not note its recipe, is passed over.
    """
    found = [run.raw["settings"] for run in runs if run.raw.get("settings")]
    keys = dict.fromkeys(key for settings in found for key in settings)
    values = {key: [settings.get(key) for settings in found] for key in keys}
    distinct = {key: [v for i, v in enumerate(vs) if v not in vs[:i]] for key, vs in values.items()}
    return {key: different for key, different in distinct.items() if len(different) > 1}


def explain_plans(runs: Iterable[Run]) -> list[str]:
    """Return a line about each sharing plan that the networks' names have a digest of."""
    plans = {}
    for run in runs:
        given = run.raw["arch_args"].get("plan")
        if isinstance(given, Mapping):
            with contextlib.suppress(KeyError, TypeError, ValueError):
                plans[_brief(given)] = SharingPlan.from_dict(dict(given))
    return [
        f"plan={digest} is {len(plan)} {'child' if len(plan) == 1 else 'children'}: "
        + ", ".join(map(str, plan))
        for digest, plan in plans.items()
    ]


def in_brackets(arguments: Mapping[str, Any]) -> str:
    """Write a network's arguments behind its name; none are nothing."""
    return f" ({_written(arguments)})" if arguments else ""


def _written(arguments: Mapping[str, Any]) -> str:
    """Write arguments on a line; a mapping, such as a sharing plan, as a digest of it."""
    return ", ".join(f"{key}={_brief(value)}" for key, value in sorted(arguments.items()))


def _brief(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    with contextlib.suppress(KeyError, TypeError, ValueError):  # defaults written out or not
        value = SharingPlan.from_dict(dict(value)).to_dict()
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:6]
