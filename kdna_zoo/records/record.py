"""The record that training leaves in each checkpoint: all that a release says about its weights.

It lies under ``checkpoint["kdna_zoo"]`` as plain JSON types. Here it becomes frozen data, checked
once, so that what reads it later need not ask what is there. Keys it does not know are passed over.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, get_origin

from kdna_zoo.errors import UserError
from kdna_zoo.records.formats import RECORD_FORMAT

DATA_CONFIG_KEYS = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


@dataclass(frozen=True)
class Split:
    """One part of a data set and how many images it has."""

    split: str
    images: int


@dataclass(frozen=True)
class DataRecord:
    """The data set of a run: a Hub id with its revision, or a path on the trainer's machine.

    `sources` are the data sets on the Hub that a local one says it was made from.
    """

    name: str
    path: str | None
    hub_id: str | None
    revision: str | None
    license: str | None
    sources: list[str] | None
    train: Split
    val: Split | None


@dataclass(frozen=True)
class Metrics:
    """What the last validation measured; top1 and top5 are fractions from 0 to 1.

    Those of a classifier; of another task the record has other figures too, and no top1.
    """

    split: str
    images: int
    top1: float | None
    top5: float | None
    loss: float | None


@dataclass(frozen=True)
class Throughput:
    """Images a second, and how that was measured."""

    images_per_second: float
    batch_size: int
    form: str
    hardware: str


@dataclass(frozen=True)
class Measured:
    """What was measured on the files of a release, after they were written."""

    metrics: Metrics | None = None
    throughput: Throughput | None = None
    hardware: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """How the weights came to be.

    `command` and the `recipe` (the resolved configuration as YAML text) are there if the run came
    from the command line, and with them `recipes`, the configuration files as they were given,
    `arguments`, all else that was given, word by word, and `folder`, the name of the run's own;
    for runs of older versions, which have only the command, ask `recipes_of` and `arguments_of`.
    `batch_size` is that of one device and one of `accumulate` steps. `images_per_second` are those
    trained on, over all the seconds, validation included.
    """

    command: str | None
    recipe: str | None
    seed: int | None
    epochs: float
    steps: int
    batch_size: int | None
    accumulate: int | None
    git_commit: str | None
    precision: str
    hardware: str
    devices: int
    versions: dict[str, str]
    started: str
    seconds: float
    images_per_second: float | None
    recipes: list[str] | None = None
    arguments: list[str] | None = None
    folder: str | None = None


@dataclass(frozen=True)
class Record:
    """A whole record: the network, its classes and input, its data, its figures, its run.

    `base_model` is the repository on the Hub whose weights the training started from.
    """

    arch: str
    arch_args: dict[str, Any]
    num_classes: int
    label_names: list[str]
    data_config: dict[str, Any]
    data: DataRecord
    metrics: Metrics | None
    run: RunRecord
    base_model: str | None = None


def as_written(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by the names of a dataclass's fields, as JSON has them; others are not known.

    Args:
        kind: `Record` or one of its parts.
        values: By name; what is left out is None.
    """
    names = [field.name for field in fields(kind)]
    unknown = set(values) - set(names)
    assert not unknown, f"{kind.__name__} has no {unknown}"
    return {name: values.get(name) for name in names}


def recipes_of(run: RunRecord) -> list[str]:
    """Return the configuration files of this package that a run was given, in order."""
    given = run.recipes if run.recipes is not None else split_command(run.command)[0]
    return [file for file in given if file.startswith("recipes/")]


def arguments_of(run: RunRecord) -> list[str]:
    """Return what else a run was given, word by word."""
    return run.arguments if run.arguments is not None else split_command(run.command)[1]


def split_command(command: str | Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return the configuration files of a command line, and its other words.

    Args:
        command: As one writes it, or its words; None: nothing.
    """
    words = shlex.split(command) if isinstance(command, str) else list(command or [])
    files, others, rest = [], [], iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option not in ("--config", "-c"):
            others.append(word)
        elif file := value if equals else next(rest, ""):
            files.append(file)
    return files, others


def parse_record(raw: object) -> Record:
    """Check a raw record and turn it into frozen data.

    Args:
        raw: What lies under ``checkpoint["kdna_zoo"]``.

    Raises:
        UserError: The format is not the one this version reads, or an entry is missing or wrong.
    """
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != RECORD_FORMAT:
        raise UserError(
            f"its record has format {found!r}; this version of kdna-zoo reads format"
            f" {RECORD_FORMAT}. Use the version of kdna-zoo that wrote the checkpoint."
        )
    record: Record = _read(Record, raw, "kdna_zoo")
    _check_labels(record)
    _check_data_config(record)
    return record


def parse_run(raw: object) -> RunRecord:
    """Check the raw record of a run and turn it into frozen data.

    Raises:
        UserError: An entry is missing or wrong.
    """
    run: RunRecord = _read(RunRecord, raw, "run")
    return run


def _read(kind: Any, value: Any, where: str) -> Any:
    """Read one value as the kind that its field is annotated with."""
    if isinstance(kind, UnionType):  # always `X | None` here
        return None if value is None else _read(kind.__args__[0], value, where)
    if is_dataclass(kind):
        return _read_fields(kind, _read(dict, value, where), where)
    wanted = get_origin(kind) or kind
    accepted = (int, float) if wanted is float else wanted
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise UserError(
            f"its record is damaged: {where} should be of type {wanted.__name__}"
            f" and is {value!r}. Train again, or use an undamaged checkpoint."
        )
    return value


def _read_fields(kind: Any, entries: dict[str, Any], where: str) -> Any:
    values = {
        field.name: _read(field.type, entries.get(field.name), f"{where}.{field.name}")
        for field in fields(kind)
    }
    return kind(**values)


def _check_labels(record: Record) -> None:
    names = record.label_names
    if len(names) != record.num_classes or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"its record is damaged: kdna_zoo.label_names should be {record.num_classes} names,"
            f" one for each class, and has {len(names)}: {names[:5]!r}."
        )


def _check_data_config(record: Record) -> None:
    missing = [key for key in DATA_CONFIG_KEYS if record.data_config.get(key) is None]
    if missing:
        raise UserError(
            f"its record is damaged: kdna_zoo.data_config lacks {', '.join(missing)};"
            f" it needs {', '.join(DATA_CONFIG_KEYS)}."
        )
