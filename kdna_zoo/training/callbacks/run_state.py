"""What a run is at: since when it runs, what its last validation measured, how it was started."""

import math
import time
from datetime import datetime
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn

from kdna_zoo.errors import RunError
from kdna_zoo.training.callbacks.nonfinite import HOW_TO_GO_ON


class RunState(Callback):
    """Keep what the record of a run tells of its course; every task brings one.

    A checkpoint has it in its record, from which a resumed run goes on.

    Attributes:
        info: What the command line adds to the run's record.
        measured: At which step was validated, and what it gave.
        started: When the run began, in seconds since the epoch of the clock.
    """

    def __init__(self) -> None:
        self.info: dict[str, Any] = {}
        self.measured: tuple[int, dict[str, float]] | None = None
        self.started = self._resumed = time.time()
        self._before = 0.0  # seconds that a resumed run took until its checkpoint

    @property
    def seconds(self) -> float:
        """What the run took until now, without the time that it was interrupted."""
        return self._before + time.time() - self._resumed

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take when a checkpoint's run was started, and the seconds it took until then."""
        run = (checkpoint.get("kdna_zoo") or {}).get("run") or {}
        if trainer.state.fn == TrainerFn.FITTING and "seconds" in run:
            self.started = datetime.fromisoformat(run["started"]).timestamp()
            self._before = float(run["seconds"])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, or let it go on."""
        self._resumed = time.time()
        self.started = self.started if self._before else self._resumed

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keep the measurement for the checkpoint of this very step, or stop if it is not finite.

        Only here does an update show that broke the weights in an epoch's last step; stopping now
        keeps it out of the checkpoints.
        """
        measured = pl_module.val_metrics.compute().items()
        values = {name: float(value) for name, value in measured if value.numel() == 1}
        for name, value in values.items():
            of_training = trainer.state.fn == TrainerFn.FITTING and "loss" in name
            if of_training and not math.isfinite(value):
                raise RunError(
                    f"the validation loss became {value} after step {trainer.global_step} "
                    f"(epoch {trainer.current_epoch}); {HOW_TO_GO_ON}"
                )
        self.measured = (trainer.global_step, values)


def run_state(trainer: pl.Trainer) -> RunState:
    """Return the state of a trainer's run; it has one as soon as it has run a task."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return next(call for call in callbacks if isinstance(call, RunState))
