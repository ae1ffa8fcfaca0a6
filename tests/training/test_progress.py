"""The progress bar of a run, with its rate and the time left."""

import re
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from kdna_zoo.training.callbacks.progress import RunProgress
from tests.training.support import fit


class Shown(Callback):
    """Keep what stands beside the bar, after each batch of training and of the sanity check."""

    training: list[dict[str, Any]]
    checking: list[dict[str, Any]]

    def __init__(self) -> None:
        Shown.training, Shown.checking = [], []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        bar: Any = trainer.progress_bar_callback
        Shown.training.append(bar.get_metrics(trainer, pl_module))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        bar: Any = trainer.progress_bar_callback
        if trainer.sanity_checking:
            Shown.checking.append(bar.get_metrics(trainer, pl_module))


def test_the_bar_says_the_rate_and_the_time_left(tmp_path: Path) -> None:
    run = fit(
        tmp_path,
        "--trainer.enable_progress_bar=true",
        "--trainer.limit_train_batches=4",
        "--trainer.limit_val_batches=1",
        "--trainer.callbacks+=tests.training.test_progress.Shown",
    )
    assert isinstance(run.trainer.progress_bar_callback, RunProgress)
    assert Shown.checking
    assert not any("left" in shown for shown in Shown.checking), "before the first step"
    assert float(Shown.training[1]["images/s"]) > 0
    assert re.fullmatch(r"\d:\d\d:\d\d", Shown.training[1]["left"])
    assert "left" not in Shown.training[-1], "nothing is left after the last step"
    assert all("v_num" not in shown for shown in Shown.training)
