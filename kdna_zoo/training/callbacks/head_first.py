"""Fine-tuning that trains the new head first, by Lightning's `BaseFinetuning`.

Freezing and thawing are Lightning's own functions; this file says only what and when. Nothing is
kept of it in a checkpoint: a resumed run reads the epoch. All parameters are in the optimizer from
the start, in timm's groups (layer decay needs that), and a frozen one simply gets no gradient.
"""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BaseFinetuning, Callback
from lightning.pytorch.strategies import DDPStrategy

from kdna_zoo.errors import UserError
from kdna_zoo.training.compat import finds_unused_parameters


class HeadFirst(Callback):
    """Freeze all but the classifier for the first epochs; frozen norms keep their statistics.

    Args:
        epochs: How many epochs only the head is trained; 0 freezes nothing.
    """

    def __init__(self, epochs: int = 0) -> None:
        if epochs < 0:
            raise UserError(f"head_first.epochs must be at least 0, got {epochs}")
        self.epochs = epochs

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that the ranks will stay in step.

        Raises:
            UserError: If gradients are exchanged in a way that waits for frozen parameters.
        """
        strategy = trainer.strategy
        if not isinstance(strategy, DDPStrategy) or trainer.world_size == 1 or not self.epochs:
            return
        if not finds_unused_parameters(strategy):
            raise UserError(
                "head_first leaves parameters without gradient, which DDP waits for; give "
                "--trainer.strategy ddp_find_unused_parameters_true"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze the body where a run goes on within an epoch, whose start it is not told."""
        self._freeze(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze the body, or thaw it once its time has come."""
        self._freeze(trainer, pl_module)
        if trainer.current_epoch == self.epochs:
            BaseFinetuning.make_trainable(pl_module.model)

    def _freeze(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        network: Any = pl_module.model
        if trainer.current_epoch < self.epochs:
            BaseFinetuning.freeze(network, train_bn=False)
            BaseFinetuning.make_trainable(network.get_classifier())
