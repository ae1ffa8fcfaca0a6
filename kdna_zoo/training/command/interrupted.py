"""What a training command says when it is interrupted at once, not between two steps.

Lightning tears down at Ctrl-C, says so, and exits with 1; at SIGTERM before the first step with 0.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException

from kdna_zoo.errors import StoppedError
from kdna_zoo.interrupts import number_of, stopped_by
from kdna_zoo.training.callbacks.predictions import PredictionWriter
from kdna_zoo.training.resume.checkpointing import LAST, LastCheckpoint

SAID = "Detected KeyboardInterrupt"


@contextmanager
def explained(trainer: pl.Trainer) -> Iterator[None]:
    """Say in one line what is left of a run that is interrupted within the block.

    Raises:
        StoppedError: In place of Lightning's exit.
    """
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    log.addFilter(_is_no_farewell)
    try:
        yield
    except SIGTERMException as error:
        raise _stopped(trainer, int(SIGTERM)) from error
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise _stopped(trainer, number_of(error.__context__)) from error
    finally:
        log.removeFilter(_is_no_farewell)


def _is_no_farewell(record: logging.LogRecord) -> bool:
    return SAID not in record.getMessage()


def _stopped(trainer: pl.Trainer, number: int) -> StoppedError:
    error = stopped_by(number, _what_is_left(trainer))
    if not trainer.is_global_zero:
        error.exit_code = 0  # the first process speaks for all
    return error


def _what_is_left(trainer: pl.Trainer) -> str:
    for call in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(call, LastCheckpoint) and (file := call.newest()):
            return (
                f"the newest checkpoint is {file}; the same command with --resume goes on from it"
            )
        if isinstance(call, LastCheckpoint):
            return f"there is no {LAST} yet; the same command begins again"
        if isinstance(call, PredictionWriter):
            return f"{Path(call.file(trainer))} is as it was; the same command begins again"
    return "nothing was written; the same command begins again"
