"""Signals that tell a run to stop or to requeue, heeded between two steps.

Lightning's own handlers act wherever the run stands, in the middle of an optimizer step for one,
and each rank for itself. Here a handler only takes a note; all ranks look at their notes together
after a step, when the state is one that can be gone on from; a signal that comes while a run
validates is heeded after that. A second Ctrl-C ends the run at once. A handler of SIGTERM that
the program has itself is called at once, as Lightning does.
"""

import os
import signal
import threading
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from kdna_zoo.interrupts import terminate
from kdna_zoo.training.compat import cluster_environment

AFTER_VALIDATION = (
    b"\nkdna-zoo: saving and stopping after this validation; Ctrl-C again stops at once\n"
)


class Signals:
    """What SIGTERM, Ctrl-C and SLURM's requeue signal have asked for.

    Attributes:
        stopping: The number of the signal to stop for; 0: none.
    """

    def __init__(self) -> None:
        self.stopping = 0
        self._requeue_signal = 0
        self._requeue_handler: Any = None
        self._noted: set[int] = set()
        self._own_handler: Any = None

    def begin(self) -> None:
        """Look which handler a program around the run has, before Lightning puts its own there."""
        found = signal.getsignal(signal.SIGTERM)
        self._own_handler = None if found is terminate else found  # the command line's: saves first

    def listen(self, trainer: pl.Trainer) -> None:
        """Take the place of Lightning's handlers, which it puts back at the end of the fit."""
        if threading.current_thread() is not threading.main_thread():
            return  # only there Python lets one
        if trainer.received_sigterm:  # before there was a step
            self._noted.add(signal.SIGTERM)
        self._trainer = trainer
        signal.signal(signal.SIGTERM, self._note)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # or it is another's
            signal.signal(signal.SIGINT, self._interrupt)
        environment = cluster_environment(trainer)
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            self._requeue_signal = int(environment.requeue_signal or signal.SIGUSR1)
            self._requeue_handler = signal.getsignal(self._requeue_signal)
            signal.signal(self._requeue_signal, self._note)

    def due(self, trainer: pl.Trainer, now: bool = False) -> bool:
        """Say whether any rank has been told something; several ranks ask each other now and then.

        Args:
            trainer: The trainer.
            now: Whether to ask the other ranks at this step in any case.
        """
        several = trainer.world_size > 1
        every = max(trainer.log_every_n_steps, 1)  # type: ignore[attr-defined]
        if several and not now and trainer.global_step % every:
            return False
        heeded = (signal.SIGTERM, signal.SIGINT, self._requeue_signal)
        notes = [float(number in self._noted) for number in heeded]
        if several:
            shared = torch.tensor(notes, device=trainer.strategy.root_device)
            notes = trainer.strategy.reduce(shared, reduce_op="sum").tolist()
        if notes[0] or notes[1]:
            self.stopping = int(signal.SIGTERM if notes[0] else signal.SIGINT)
        if notes[2]:
            self._noted.add(self._requeue_signal)
        return any(notes)

    def requeue(self) -> None:
        """Let Lightning save its own checkpoint and requeue the job, if the signal for it came."""
        if self._requeue_signal in self._noted and callable(self._requeue_handler):
            self._noted.discard(self._requeue_signal)
            self._requeue_handler(self._requeue_signal, None)

    def _note(self, number: int, frame: Any) -> None:
        self._noted.add(number)
        if number == signal.SIGTERM and callable(self._own_handler):
            self._own_handler(number, frame)

    def _interrupt(self, number: int, frame: Any) -> None:
        if number in self._noted:
            raise KeyboardInterrupt
        self._noted.add(number)
        if self._trainer.validating and self._trainer.is_global_zero:
            os.write(2, AFTER_VALIDATION)  # print() may not be called again within itself
