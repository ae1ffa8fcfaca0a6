"""What a run tells of itself: hardware, versions, seed and commit, as plain JSON types.

Every checkpoint carries it, so that weights and their provenance cannot be parted.
"""

import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Protocol

import lightning.pytorch as pl

from kdna_zoo.records.formats import RECORD_FORMAT
from kdna_zoo.records.machine import git_commit, hardware, versions
from kdna_zoo.records.record import Record, RunRecord, as_written

PACKAGES = ("timm", "lightning", "torchmetrics", "datasets")


class Recorded(Protocol):
    """What a record is made from; `ImageClassifier` in this package."""

    trainer: pl.Trainer
    num_classes: int
    measured: tuple[int, dict[str, float]] | None
    run_info: dict[str, Any]
    started: float
    resumed: float
    seconds_before: float
    updates_per_epoch: int
    base_model: str | None

    @property
    def arch(self) -> str:
        """The name for timm."""

    @property
    def arch_args(self) -> dict[str, Any]:
        """The arguments that go with it."""


def make_record(module: Recorded) -> dict[str, Any]:
    """Return the record of a run in progress, as it goes into a checkpoint under ``kdna_zoo``."""
    data: Any = getattr(module.trainer, "datamodule", None)
    described = data.describe() if hasattr(data, "describe") else None
    record = {
        "arch": module.arch,
        "arch_args": module.arch_args,
        "num_classes": module.num_classes,
        "label_names": getattr(data, "label_names", None),
        "data_config": _plain(getattr(data, "data_config", {})),
        "data": described,
        "metrics": _metrics(module, described),
        "run": _run(module, getattr(data, "batch_size", None), getattr(data, "seed", _seed())),
        "base_model": module.base_model,
    }
    return {"format": RECORD_FORMAT, **as_written(Record, record)}


def _metrics(module: Recorded, data: dict[str, Any] | None) -> dict[str, Any] | None:
    """The validation that was made at this very step, if any."""
    if module.measured is None or module.measured[0] != module.trainer.global_step:
        return None
    values = {name.removeprefix("val/"): value for name, value in module.measured[1].items()}
    split = (data.get("val") or {}).get("split") if data else None
    return {**values, "images": int(values["images"]), "split": split}


def _run(module: Recorded, batch_size: int | None, seed: int | None) -> dict[str, Any]:
    trainer = module.trainer
    started = datetime.fromtimestamp(module.started, timezone.utc)
    seconds = module.seconds_before + time.time() - module.resumed
    images = trainer.global_step * trainer.accumulate_grad_batches * trainer.world_size
    run = {
        "seed": seed,
        "epochs": round(trainer.global_step / max(module.updates_per_epoch, 1), 2),
        "steps": trainer.global_step,
        "batch_size": batch_size,
        "accumulate": trainer.accumulate_grad_batches,
        "precision": str(trainer.precision),
        "devices": trainer.world_size,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "images_per_second": round(images * batch_size / seconds, 1) if batch_size else None,
        **describe_machine(trainer),
        **module.run_info,
    }
    return as_written(RunRecord, run)


def time_spent(checkpoint: Mapping[str, Any]) -> tuple[float, float]:
    """Return when a checkpoint's run was started, and the seconds it took until then."""
    run = (checkpoint.get("kdna_zoo") or {}).get("run") or {}
    if "seconds" not in run:
        return time.time(), 0.0
    return datetime.fromisoformat(run["started"]).timestamp(), float(run["seconds"])


def describe_machine(trainer: pl.Trainer) -> dict[str, Any]:
    """Return hardware, versions and the commit of this package."""
    device = trainer.strategy.root_device
    return {
        "hardware": hardware(device),
        "git_commit": git_commit(),
        "versions": versions(*PACKAGES),
    }


def _seed() -> int | None:
    seed = os.environ.get("PL_GLOBAL_SEED")  # where Lightning's seed_everything keeps it
    return int(seed) if seed is not None else None


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """Tuples to lists, so that the record is JSON."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}
