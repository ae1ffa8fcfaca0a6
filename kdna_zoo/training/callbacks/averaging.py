"""The exponential moving average of the weights, by Lightning's callback.

Validation measures the averaged weights, and a checkpoint's ``state_dict`` holds them, so they are
what is published; the live weights lie beside them, under ``current_model_state``.

It departs from Lightning's in one thing: before its first update there is no average, so the live
weights are measured and kept; Lightning 2.6 uses those that the run began with
(pytorch-lightning#21724).
"""

from functools import partial
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from kdna_zoo.errors import UserError
from kdna_zoo.training.compat import average_of


def take_live_weights(trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
    """Let a run go on from the live weights of a checkpoint if it keeps no average of its own.

    Lightning would load the average, with the optimizer's state of other weights.
    """
    keeps = any(isinstance(call, WeightAveraging) for call in trainer.callbacks)  # type: ignore[attr-defined]
    if not keeps and "current_model_state" in checkpoint:
        rank_zero_info("no average of the weights from here on: going on from the live weights")
        checkpoint["state_dict"] = checkpoint["current_model_state"]


def _copy_what_has_no_mean(live: nn.Module, averaged: nn.Module) -> None:
    """Copy whole numbers, such as indices, and the schedules of dynamic convolutions.

    Lightning averages all buffers. The mean of indices is rounded to others, and a schedule that
    has ended would not have in the average.
    """
    for (name, ours), theirs in zip(averaged.named_buffers(), live.buffers(), strict=True):
        if not ours.is_floating_point() or name.endswith(".annealed"):
            ours.copy_(theirs)


def _update(decay: float, averaged: Tensor, live: Tensor, count: Any) -> Tensor:
    """Return the next average, as ``torch.optim.swa_utils.get_ema_avg_fn`` does.

    What that returns cannot go to processes that are spawned.
    """
    return decay * averaged + (1 - decay) * live


class WeightAverage(WeightAveraging):
    """Keep an exponential moving average of weights and buffers.

    Args:
        decay: Part of the average that each update keeps, such as 0.9999; 0 is no average.
        every_n_steps: Optimizer steps between two updates.
        from_epoch: First epoch with updates; the first update copies the live weights.
        device: Where the average is kept; None: where the network is.
    """

    def __init__(
        self,
        decay: float = 0.0,
        every_n_steps: int = 1,
        from_epoch: int = 0,
        device: str | None = None,
    ) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"ema.decay must be at least 0 (no average) and below 1, got {decay}")
        if every_n_steps < 1:
            raise UserError(f"ema.every_n_steps must be at least 1, got {every_n_steps}")
        super().__init__(device=device, avg_fn=partial(_update, decay))
        self.decay = decay
        self.every_n_steps = every_n_steps
        self.from_epoch = from_epoch
        self._started = False  # from_epoch is reached
        self._swapped = False  # the network holds the average, for a validation

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Update after every n-th step from the first epoch on."""
        return self._started and step_idx is not None and step_idx % self.every_n_steps == 0

    @property
    def updated(self) -> bool:
        """Whether there is an average yet."""
        average = average_of(self)
        return average is not None and bool(average.n_averaged > 0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Update the average after a step."""
        self._started = trainer.current_epoch >= self.from_epoch
        super().on_train_batch_end(trainer, pl_module, *args)
        if (average := average_of(self)) is not None:
            _copy_what_has_no_mean(pl_module, average.module)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the average in, if there is one."""
        self._swapped = self.updated
        if self._swapped:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the live weights back."""
        if self._swapped:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average in the network, if there is one."""
        if self.updated:
            super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average, if there is one, and the live weights beside it."""
        if self.updated:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)
