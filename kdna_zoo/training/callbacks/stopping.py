"""Ending a run after a number of optimizer steps, in a way that can be resumed exactly.

Lightning's own ``max_steps`` takes each resumed run to be in the middle of an epoch: after a
checkpoint from the end of one, it ends that epoch a second time and leaves the next one out
(lightning 2.6, ``_FitLoop.restarting``). So the command line gives ``trainer.max_steps`` to this.
"""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, EarlyStopping


class StopAfter(Callback):
    """Stop after a number of optimizer steps; the last checkpoint and validation are made there.

    Args:
        steps: How many, counted from the beginning of the run.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Ask the trainer to stop."""
        if trainer.global_step >= self.steps:
            trainer.should_stop = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make no step where a resumed run has made them all."""
        if trainer.global_step >= self.steps:
            trainer.should_stop = True


class StayStopped(Callback):
    """Let a run that EarlyStopping has ended stay ended when it is resumed.

    Lightning trains one epoch more before it looks, and restores the checkpoint's patience over the
    command's; here the command's counts, so a greater one goes on.
    """

    def __init__(self) -> None:
        self._patience: dict[EarlyStopping, int] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Note what the command says, before a checkpoint is restored."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        stoppers = [call for call in callbacks if isinstance(call, EarlyStopping)]
        self._patience = {stopper: stopper.patience for stopper in stoppers}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make no step where the patience was at its end."""
        for stopper, patience in self._patience.items():
            stopper.patience = patience
            if stopper.wait_count >= patience:
                trainer.should_stop = True


def max_updates(trainer: pl.Trainer) -> int:
    """Return the optimizer steps that a run may make; -1: as many as its epochs have."""
    limits = (call.steps for call in trainer.callbacks if isinstance(call, StopAfter))  # type: ignore[attr-defined]
    return min(limits, default=trainer.max_steps)
