"""What a run tells of itself: hardware, versions, seed and commit, as plain JSON types.

Every checkpoint carries it, so that weights and their provenance cannot be parted.
"""

import os
from datetime import datetime, timezone
from typing import Any, Protocol

import lightning.pytorch as pl

from kdna_zoo.records.formats import RECORD_FORMAT
from kdna_zoo.records.machine import git_commit, hardware, versions
from kdna_zoo.records.record import Record, RunRecord, as_written
from kdna_zoo.training.callbacks.run_state import RunState, run_state

PACKAGES = ("timm", "lightning", "torchmetrics", "datasets")


class Recorded(Protocol):
    """What a record is made from; a `BaseTask` in this package."""

    trainer: pl.Trainer
    num_classes: int
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
    state = run_state(module.trainer)
    described = data.describe() if hasattr(data, "describe") else None
    run = _run(module, state, getattr(data, "batch_size", None), getattr(data, "seed", _seed()))
    record: dict[str, Any] = {
        "arch": module.arch,
        "arch_args": module.arch_args,
        "num_classes": module.num_classes,
        "label_names": getattr(data, "label_names", None) if module.num_classes else [],
        "data_config": _plain(getattr(data, "data_config", {})),
        "data": described,
        "metrics": _metrics(state, module.trainer.global_step, described),
        "run": run,
        "base_model": module.base_model,
    }
    return {"format": RECORD_FORMAT, **as_written(Record, record)}


def _metrics(state: RunState, step: int, data: dict[str, Any] | None) -> dict[str, Any] | None:
    """The validation that was made at this very step, if any."""
    if state.measured is None or state.measured[0] != step:
        return None
    values = {name.removeprefix("val/"): value for name, value in state.measured[1].items()}
    split = (data.get("val") or {}).get("split") if data else None
    images = {"images": int(values["images"])} if "images" in values else {}
    return {**values, **images, "split": split}


def _run(
    module: Recorded, state: RunState, batch_size: int | None, seed: int | None
) -> dict[str, Any]:
    trainer = module.trainer
    started = datetime.fromtimestamp(state.started, timezone.utc)
    seconds = state.seconds
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
        **state.info,
    }
    return as_written(RunRecord, run)


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
