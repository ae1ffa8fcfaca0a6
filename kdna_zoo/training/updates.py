"""How many optimizer steps a run makes, counted before it starts.

Lightning's ``estimated_stepping_batches`` would build the training loader, which then forgets the
state that it is to resume from (pytorch-lightning#20550).
"""

import math

import lightning.pytorch as pl

from kdna_zoo.errors import UserError
from kdna_zoo.training.stopping import max_updates


def count_updates(trainer: pl.Trainer) -> tuple[int, int]:
    """Return the optimizer steps of the whole run and those of an epoch.

    Raises:
        UserError: If the run has no end.
    """
    per_epoch = _count_an_epochs(trainer)
    limits = (trainer.max_epochs or -1) * per_epoch, max_updates(trainer)
    updates = min((limit for limit in limits if limit > 0), default=0)
    if not updates:
        raise UserError("set trainer.max_epochs or trainer.max_steps: the schedule needs an end")
    return updates, per_epoch


def _count_an_epochs(trainer: pl.Trainer) -> int:
    batches = getattr(trainer.datamodule, "train_batches", None)  # type: ignore[attr-defined]
    if batches is None:
        return max(int(trainer.estimated_stepping_batches) // max(trainer.max_epochs or 1, 1), 1)
    return max(math.ceil(int(batches) / trainer.accumulate_grad_batches), 1)
