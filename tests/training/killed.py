"""Runs of the command line that are killed at a step, in a forked process: no second start-up."""

import os
import signal
import traceback
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch.optim import Optimizer

from kdna_zoo.cli.app import main
from tests.training.support import TINY

EPOCHS, STEPS_PER_EPOCH = 2, 5


class SignalAt(Callback):
    """Send a signal to this process in the middle of an optimizer step."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


def arguments(folder: Path, *more: str) -> list[str]:
    """A run whose weights depend on all that is random in it."""
    return [
        "fit",
        *TINY,
        f"--trainer.default_root_dir={folder}",
        f"--trainer.max_epochs={EPOCHS}",
        "--trainer.log_every_n_steps=1",
        "--trainer.limit_val_batches=1",
        "--data.train_split=train[:80]",
        "--data.batch_size=16",
        "--data.augment={auto_augment: rand-m9, re_prob: 0.5}",
        "--model.arch_args={drop_rate: 0.2, drop_path_rate: 0.2}",
        "--model.schedule.warmup_epochs=1",
        "--model.mix.mixup_alpha=0.4",
        "--ema.decay=0.8",
        *more,
    ]


def signalled(step: int, number: int = signal.SIGKILL) -> list[str]:
    """The options that add `SignalAt` to a run."""
    return [
        "--trainer.callbacks+=tests.training.killed.SignalAt",
        f"--trainer.callbacks.step={step}",
        f"--trainer.callbacks.number={int(number)}",
    ]


def run(line: list[str]) -> int:
    """Run a command line in a forked process; return its exit code, or minus the signal."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            torch.set_num_threads(1)  # a forked process has no thread but its own
            code = main(line)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
