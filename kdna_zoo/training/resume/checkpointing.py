"""Writing checkpoints so that a whole one is always there: the newest, and the one before it."""

import math
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from kdna_zoo.atomic import replaced_file
from kdna_zoo.errors import RunError, StoppedError
from kdna_zoo.records.checkpoints import open_checkpoint
from kdna_zoo.training.compat import validation_is_due
from kdna_zoo.training.resume.signals import Signals

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint aside, flushes it to the disk and renames it; loads none with code.

    At no time is half a checkpoint under its name, and an error leaves what was there before. What
    was ``last.ckpt`` until now stays as ``previous.ckpt``.
    """

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint to the CPU, without running code from it, whatever is asked for.

        Raises:
            UserError: If it is damaged, or holds code.
        """
        if "://" in str(path):  # object storage
            return super().load_checkpoint(path, weights_only=True)
        return dict(open_checkpoint(Path(path)))

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            RunError: If it cannot be written, because the disk is full for one.
        """
        if "://" in str(path):  # object storage shows a file when it is complete
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file = Path(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replaced_file(file) as fresh:
                with fresh.open("wb") as handle:
                    torch.save(checkpoint, handle)
                if file.name == LAST:
                    _keep(file)
        except (OSError, RuntimeError) as error:  # torch's writer knows the reason as its context
            reason = error if isinstance(error, OSError) else error.__context__ or error
            raise RunError(
                f"cannot write the checkpoint {file}: {reason}. The checkpoints there are as they "
                "were; make room and go on with --resume"
            ) from error


def _keep(file: Path) -> None:
    """Give what is the last checkpoint until now a second name."""
    if file.exists():
        second = file.with_name(f".{PREVIOUS}.kdna-zoo-new")
        with suppress(FileNotFoundError):
            second.unlink()
        try:
            os.link(file, second)
        except OSError:  # a file system without second names: for an instant there is no last
            second = file
        os.rename(second, file.with_name(PREVIOUS))


class LastCheckpoint(Checkpoint):
    """Save the state of a run to ``last.ckpt``: what ``--resume`` goes on from.

    It is saved at the end of each epoch, every few steps if asked for, and when a signal tells the
    run to stop. ``previous.ckpt`` is the one before. (Lightning's ModelCheckpoint takes epochs or
    steps, not both, and leaves out the validation of an epoch whose last step it saved.)

    Args:
        dirpath: The folder; ``checkpoints`` in the run's folder by default.
        every_n_epochs: Save at the end of each so many epochs, and of the last.
        every_n_train_steps: Also save within an epoch, each so many optimizer steps.
    """

    def __init__(
        self,
        dirpath: str | None = None,
        every_n_epochs: int = 1,
        every_n_train_steps: int | None = None,
    ) -> None:
        self.dirpath = dirpath
        self.every_n_epochs = every_n_epochs
        self.every_n_train_steps = every_n_train_steps
        self.signals = Signals()
        self._saved_step = -1

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Settle the folder on all ranks: asking for the run's is a broadcast."""
        run = trainer.log_dir or trainer.default_root_dir
        self.path = Path(self.dirpath or Path(run, "checkpoints")) / LAST

    def newest(self) -> Path | None:
        """Return the last checkpoint, if there is one by now."""
        path: Path | None = getattr(self, "path", None)
        return path if path and path.exists() else None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look which handlers of signals there are."""
        self.signals.begin()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to listen to signals."""
        self.signals.listen(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save after an optimizer step, where it is due or a signal came.

        Where a validation follows, it is part of the step: `on_validation_end` saves. After an
        epoch's last step the end of the epoch does.
        """
        if not validation_is_due(trainer):
            self._after_step(trainer, batch_idx)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after a validation within an epoch, so that a run killed in it makes it up."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._after_step(trainer, trainer.fit_loop.batch_idx)

    def _after_step(self, trainer: pl.Trainer, batch_idx: int) -> None:
        updated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        ends = batch_idx + 1 >= trainer.num_training_batches or trainer.should_stop
        if not updated or ends:
            return
        every = self.every_n_train_steps
        if every and trainer.global_step % every == 0:
            self._save(trainer)
        if self.signals.due(trainer):
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, and stop if a signal came; what ends a run within an epoch ends that too."""
        epochs = trainer.current_epoch + 1
        ends = epochs == trainer.max_epochs or trainer.should_stop
        if epochs % self.every_n_epochs == 0 or ends:
            self._save(trainer)
        if self.signals.due(trainer, now=True):
            self._stop(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if self._saved_step != trainer.global_step and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._saved_step = trainer.global_step
            trainer.save_checkpoint(self.path, weights_only=False)

    def _stop(self, trainer: pl.Trainer) -> None:
        """Save, then requeue or end, as the signal says."""
        self._save(trainer)
        self.signals.requeue()
        if self.signals.stopping:
            number = self.signals.stopping
            code = 128 + number
            reason = "Ctrl-C" if number == signal.SIGINT else f"signal {number}"
            raise StoppedError(
                f"stopped by {reason} after step {trainer.global_step} "
                f"(epoch {trainer.current_epoch}); its state is in {self.path}: go on with "
                "--resume",
                exit_code=code if trainer.is_global_zero else 0,  # other codes than 0 end the rest
            )


def check_finite(checkpoint: dict[str, Any], trainer: pl.Trainer) -> None:
    """Check, on all ranks together, that the weights to be saved are finite.

    Raises:
        RunError: If they are not.
    """
    states = [checkpoint["state_dict"], checkpoint.get("current_model_state", {})]  # with EMA both
    tensors = [t for state in states for t in state.values() if t.is_floating_point() and t.numel()]
    largest = [t.detach().float().abs().max() for t in tensors]  # not a number, if one is not
    broken = bool(largest) and not math.isfinite(float(torch.stack(largest).max()))
    if trainer.strategy.reduce_boolean_decision(broken, all=False):
        raise RunError(
            f"the weights are not finite after step {trainer.global_step} (epoch "
            f"{trainer.current_epoch}); the checkpoints are those from before"
        )
