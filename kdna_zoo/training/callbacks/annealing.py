"""The schedules of the dynamic convolutions: a temperature, or a blend, that training moves.

DY-Conv divides by a temperature that falls from 34 to 1, ODConv by one from 30 to 1, both over ten
epochs; KernelWarehouse blends a fixed assignment into its attention, from 1 to 0 over twenty. A
network brings the values and how long they move; `Annealing` tells it how far the training is.
"""

from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn

from kdna_zoo.errors import UserError


@runtime_checkable
class Anneals(Protocol):
    """A layer whose schedule training drives."""

    anneal_epochs: float

    def anneal(self, progress: float) -> None:
        """Stand at a progress of 0 (start) to 1 (end)."""


class Annealing(Callback):
    """Move the schedules of a network's layers, batch by batch.

    The progress follows from the epoch and the batch alone, so that a resumed run goes on where it
    stood; the value is in the checkpoint too, and with it in what is published. A network without
    such layers is left as it is, so that one recipe serves all.

    Args:
        epochs: How long the schedules move; None: as long as each layer's method was published
            with. Shorten it in a run of few epochs, which would otherwise end before them.
    """

    def __init__(self, epochs: float | None = None) -> None:
        if epochs is not None and epochs <= 0:
            raise UserError(f"the epochs of the annealing must be more than 0, got {epochs}")
        self.epochs = epochs
        self._layers: list[Anneals] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the layers that have a schedule."""
        self._layers = [layer for layer in pl_module.modules() if isinstance(layer, Anneals)]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set each layer's value for this batch."""
        epoch = trainer.current_epoch + batch_idx / trainer.num_training_batches
        for layer in self._layers:
            layer.anneal(epoch / (self.epochs or layer.anneal_epochs))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After an epoch's last batch, stand at its end: so it is validated and saved."""
        if batch_idx + 1 == trainer.num_training_batches:
            for layer in self._layers:
                layer.anneal((trainer.current_epoch + 1) / (self.epochs or layer.anneal_epochs))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn if the run ended before a schedule did."""
        epochs = [self.epochs or layer.anneal_epochs for layer in self._layers]
        if epochs and trainer.current_epoch < max(epochs):
            rank_zero_warn(
                f"training ended after {trainer.current_epoch} epochs, before the dynamic "
                f"convolutions' schedule of {max(epochs):g}: set the epochs of Annealing"
            )
