"""What training asks of Lightning's private parts: each fails when Lightning changes, or has it."""

from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from kdna_zoo.training.compat import (
    cluster_environment,
    finds_unused_parameters,
    validation_is_due,
)

QUIET: dict[str, Any] = {
    **{"accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False},
    **{"enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1},
}


def test_cluster_environment() -> None:
    trainer = pl.Trainer(**QUIET)
    assert isinstance(cluster_environment(trainer), LightningEnvironment)
    assert not hasattr(trainer, "cluster_environment"), "it has it in public"
    assert not hasattr(SingleDeviceStrategy, "cluster_environment"), "it has it in public"


@pytest.mark.parametrize("finds", [False, True])
def test_unused_parameters(finds: bool) -> None:
    strategy = DDPStrategy(find_unused_parameters=finds)
    assert finds_unused_parameters(strategy) == finds
    assert not hasattr(strategy, "find_unused_parameters"), "it has it in public"


class Asking(pl.Callback):
    """Keeps the answer after each step."""

    def __init__(self) -> None:
        self.due: list[bool] = []
        self.validated: list[int] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *others: Any) -> None:
        self.due.append(validation_is_due(trainer))

    def on_validation_start(self, trainer: pl.Trainer, *others: Any) -> None:
        self.validated.append(trainer.global_step)


@pytest.mark.filterwarnings("ignore")
def test_validation_is_due() -> None:
    asking = Asking()
    options = {"limit_train_batches": 7, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    pl.Trainer(**QUIET, **options, val_check_interval=3, callbacks=asking).fit(BoringModel())
    assert asking.validated == [3, 6]
    assert [step for step, due in enumerate(asking.due, 1) if due] == asking.validated
