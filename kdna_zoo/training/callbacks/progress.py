"""The progress bar: Lightning's, with the rate in images and the time left of the whole run."""

import time
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar


class RunProgress(RichProgressBar):
    """Lightning's bar of an epoch, which also says images a second and what is left of the run."""

    _began: float | None = None  # seconds on the clock at which the training began
    _first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._began, self._first_step = time.monotonic(), trainer.global_step

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return what stands beside the bar."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        steps = trainer.global_step - self._first_step
        if self._began is not None and steps > 0:
            per_step = (time.monotonic() - self._began) / steps
            shown.update(self._rates(trainer, per_step))
        return shown

    def _rates(self, trainer: pl.Trainer, per_step: float) -> dict[str, str]:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        images = getattr(data, "batch_size", 0) * trainer.world_size
        images *= trainer.accumulate_grad_batches
        rates = {"images/s": f"{images / per_step:.0f}"} if images else {}
        left = getattr(trainer.lightning_module, "planned_updates", 0) - trainer.global_step
        if left > 0:
            rates["left"] = str(timedelta(seconds=round(left * per_step)))
        return rates
