"""How many optimizer steps a run makes, counted before it starts.

Lightning's ``estimated_stepping_batches`` would build the training loader, which then forgets the
state that it is to resume from (pytorch-lightning#20550).
"""

import math

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BatchSizeFinder, GradientAccumulationScheduler

from kdna_zoo.errors import UserError
from kdna_zoo.training.stopping import max_updates


def count_updates(trainer: pl.Trainer) -> tuple[int, int]:
    """Return the optimizer steps of the whole run and those of an epoch.

    Raises:
        UserError: If the run has no end, or a callback would change what was counted.
    """
    _check_that_steps_stay(trainer)
    per_epoch = _count_an_epochs(trainer)
    limits = (trainer.max_epochs or -1) * per_epoch, max_updates(trainer)
    updates = min((limit for limit in limits if limit > 0), default=0)
    if not updates:
        raise UserError("set trainer.max_epochs or trainer.max_steps: the schedule needs an end")
    return updates, per_epoch


def _check_that_steps_stay(trainer: pl.Trainer) -> None:
    """Refuse what changes the number of steps in an epoch after it was counted.

    The rate would end too early or too late, and the record would tell of other epochs.
    """
    changes = {
        GradientAccumulationScheduler: "the same for all epochs: trainer.accumulate_grad_batches",
        BatchSizeFinder: "the batch size that it finds: data.batch_size",
    }
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for kind, instead in changes.items():
            if isinstance(callback, kind):
                raise UserError(
                    f"{kind.__name__} changes how many steps an epoch has, which the schedule and "
                    f"the record of a run count on; leave it out and give {instead}"
                )


def _count_an_epochs(trainer: pl.Trainer) -> int:
    batches = getattr(trainer.datamodule, "train_batches", None)  # type: ignore[attr-defined]
    if batches is None:
        return max(int(trainer.estimated_stepping_batches) // max(trainer.max_epochs or 1, 1), 1)
    return max(math.ceil(int(batches) / trainer.accumulate_grad_batches), 1)
