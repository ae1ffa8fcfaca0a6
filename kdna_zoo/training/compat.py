"""What training has to ask of Lightning's private parts, each in one place.

Each function says which public thing is missing; `tests/training/test_compat.py` fails on the day
Lightning has it, or has changed what is used here.
"""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.strategies import DDPStrategy


def cluster_environment(trainer: pl.Trainer) -> Any:
    """Return the environment that a trainer has found, SLURM's for one; None if there is none.

    Strategies of one device have no ``cluster_environment``, and a trainer has none of its own.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return environment or trainer._accelerator_connector.cluster_environment


def finds_unused_parameters(strategy: DDPStrategy) -> bool:
    """Whether DDP goes on without gradients of some parameters; a strategy does not say it."""
    return bool(strategy._ddp_kwargs.get("find_unused_parameters"))


def validation_is_due(trainer: pl.Trainer) -> bool:
    """Whether the trainer validates after the step that it has just made; it does not say it.

    One that validates by the clock does not know it yet.
    """
    if vars(trainer).get("_val_check_time_interval") is not None:
        return False
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None, "a step was made"
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
