"""Adds the figures of later runs to a published folder, whose weights stay as they are, bit by bit.

The first run of a recipe may be published long before its other seeds and its control have come to
their end, and by then its checkpoint may be gone. A published folder says all that a card needs.
"""

import json
import shutil
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import ModelCard

from kdna_zoo.errors import UserError
from kdna_zoo.models.published import CONFIG, own_arguments, read_config
from kdna_zoo.records.formats import RECORD_FORMAT
from kdna_zoo.records.record import DATA_CONFIG_KEYS, Measured, Record, Throughput, parse_record
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.folder import FILES, check_folder, write_about, write_target
from kdna_zoo.release.options import Release, Series
from kdna_zoo.release.signature import is_generated
from kdna_zoo.release.timm_format import check_finite, seal_config

Change = Callable[[TrainedModel, Release], Release]


def read_release(folder: Path) -> tuple[TrainedModel, Release]:
    """Read back from a published folder what was published, and what the publisher added.

    Raises:
        UserError: It is no published folder, or its files do not say all of it.
    """
    check_folder(folder)
    try:
        config = read_config(folder / CONFIG)
        figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        card: Any = ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data
        record = parse_record(_raw_record(folder, config, figures, card.base_model))
        about = _about(config, figures, record)
        weights = figures["weights"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder} does not say all that its card needs ({error!r}): publish it again from its"
            " checkpoint"
        ) from error
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    check_finite(model, record.arch)
    return TrainedModel(model, record, weights, averaged=False), about


def renew_folder(
    source: Path, target: str | PathLike[str], overwrite: bool, change: Change
) -> tuple[Path, TrainedModel]:
    """Write a published folder again, with another metrics.json and card.

    Its config.json is brought into the form that is written today.

    Args:
        source: The published folder.
        target: Where to; absent or empty, unless `overwrite`. It may be `source`.
        overwrite: Whether a folder published before may be replaced.
        change: Gives what the publisher says now, from what was published and said before.

    Returns:
        The new folder's absolute path, and the network in it.

    Raises:
        UserError: The source is not what `kdna-zoo publish` wrote, or the target cannot be used;
            it is as it was before.
    """
    trained, about = read_release(source)
    if not is_generated((source / "README.md").read_text(encoding="utf-8")):
        raise UserError(
            f"{source / 'README.md'} was edited, and a new card would lose that: add the figures"
            " there by hand, or publish again from the checkpoint"
        )
    about = change(trained, about)

    def write(fresh: Path) -> None:
        for name in FILES:
            if (source / name).is_file():
                shutil.copy(source / name, fresh / name)
        seal_config(fresh)
        write_about(trained, fresh, about)

    return write_target(target, overwrite, write), trained


def _raw_record(
    folder: Path, config: dict[str, Any], figures: dict[str, Any], base: str | None
) -> dict[str, Any]:
    recipe = folder / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else None
    return {
        "format": RECORD_FORMAT,
        "arch": config["architecture"],
        "arch_args": own_arguments(config),
        "num_classes": config["num_classes"],
        "label_names": config["label_names"],
        "data_config": {key: config["pretrained_cfg"][key] for key in DATA_CONFIG_KEYS},
        "data": figures["data"],
        "metrics": figures["metrics"],
        "run": {**figures["run"], "recipe": text},
        "base_model": base,
    }


def _about(config: dict[str, Any], figures: dict[str, Any], record: Record) -> Release:
    measured, throughput = Measured(), figures["throughput"]
    if throughput:  # the accuracy is then that of the files too
        measured = Measured(record.metrics, Throughput(**throughput), figures["measured_on"])
    seeds, control = (
        Series(**series) if (series := figures[name]) else None for name in ("seeds", "control")
    )
    return Release(
        tag=config["pretrained_cfg"]["tag"],
        license=config["pretrained_cfg"]["license"],
        half=figures["precision"] == "float16",
        measured=measured,
        seeds=seeds,
        control=control,
        conversion=figures.get("conversion"),
    )
