"""Checks of the trainer's options that Lightning leaves out, or makes too late."""

from collections.abc import Mapping
from typing import Any

from kdna_zoo.errors import UserError


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Check the options of a trainer that is to train.

    Args:
        trainer: Its arguments, by name.

    Raises:
        UserError: If a number cannot be, or the run would never validate.
    """
    batches = trainer["accumulate_grad_batches"]
    if batches < 1:
        raise UserError(f"trainer.accumulate_grad_batches must be at least 1, got {batches}")
    if trainer["val_check_interval"] == 0:
        raise UserError(
            "trainer.val_check_interval 0 is never: give a part of an epoch such as 0.5, or a "
            "number of batches; trainer.limit_val_batches 0 validates nothing"
        )
    _check_that_it_validates(trainer)


def _check_that_it_validates(trainer: Mapping[str, Any]) -> None:
    """Refuse a run whose first validation would come after its last epoch.

    Raises:
        UserError: If so.
    """
    every, epochs = trainer["check_val_every_n_epoch"], trainer["max_epochs"]
    unasked = trainer["limit_val_batches"] == 0 or trainer["fast_dev_run"]
    if not unasked and every and 0 < (epochs or 0) < every:
        raise UserError(
            f"this run would never validate: trainer.check_val_every_n_epoch is {every} and "
            f"trainer.max_epochs {epochs}; change both together, or set "
            "trainer.limit_val_batches 0"
        )
