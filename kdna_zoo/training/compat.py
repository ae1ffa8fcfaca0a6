"""What training has to ask of private parts of Lightning and argparse, each in one place.

Each function says which public thing is missing; `tests/training/test_compat.py` fails on the day
it is there, or what is used here has changed.
"""

import argparse
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NoReturn

import lightning.pytorch as pl
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import _TunerExitException
from torch.optim.swa_utils import AveragedModel


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


def end_as_a_tuner() -> NoReturn:
    """End a run from a callback, as one that has finished; only Lightning's own tuners can."""
    raise _TunerExitException


def average_of(averaging: WeightAveraging) -> AveragedModel | None:
    """Return the average that Lightning's callback keeps; it shows it to nobody."""
    return averaging._average_model


def option_names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the options of a parser and its sub-commands; parsers list them in their help only."""
    for action in parser._actions:
        yield str(action.dest)
        if isinstance(action.choices, dict):  # the sub-commands
            for subparser in action.choices.values():
                yield from option_names(subparser)


class KeepingWriter(ExperimentWriter):
    """Writes to a folder that has a metrics file; Lightning's deletes it, asked or not."""

    def _check_log_dir_exists(self) -> None:
        """Leave the file there."""


class WriterLogger(CSVLogger):
    """A CSV logger that writes by a writer of its own; Lightning's makes one of one class."""

    @abstractmethod
    def make_writer(self) -> ExperimentWriter:
        """Return the writer, which is asked for on first use."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer."""
        if self._experiment is None:
            self._experiment = self.make_writer()
        assert isinstance(self._experiment, ExperimentWriter)
        return self._experiment
