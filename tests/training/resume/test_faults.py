"""What can go wrong while a run trains and saves, each caused for real."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from kdna_zoo.cli.app import main
from kdna_zoo.training.command import cli as command
from kdna_zoo.training.resume.checkpointing import SafeCheckpointIO
from tests.training.killed import STEPS_PER_EPOCH, SignalAt, arguments, run, signalled

pytestmark = pytest.mark.integration

SHORT = ("--trainer.limit_train_batches=4", "--trainer.limit_val_batches=1")


def checkpoints(folder: Path) -> Path:
    return folder / "version_0" / "checkpoints"


def step_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["global_step"])


def kill_on(event: str, number: int) -> Any:
    """An audit hook that kills this process before the given touch of a checkpoint's new file."""
    left = [number]

    def hook(name: str, args: tuple[Any, ...]) -> None:
        if name == event and args and "kdna-zoo-new" in str(args[0]):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


@pytest.mark.parametrize("event", ["open", "os.rename", "os.chmod"])
def test_killed_while_a_checkpoint_is_written(tmp_path: Path, event: str) -> None:
    """Killed at each touch of the file in turn: what is there is the old one or the new, whole."""
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        io, file = SafeCheckpointIO(), folder / "last.ckpt"
        for step in (1, 2):
            io.save_checkpoint({"global_step": step}, file)
        child = os.fork()
        if child == 0:
            import sys

            sys.addaudithook(kill_on(event, number))
            io.save_checkpoint({"global_step": 3}, file)
            os._exit(0)
        ended = os.waitpid(child, 0)[1]
        assert step_of(file) in (2, 3)
        assert step_of(folder / "previous.ckpt") in (1, 2)
        if ended == 0:
            assert number > 0, "nothing was struck"
            assert (step_of(file), step_of(folder / "previous.ckpt")) == (3, 2)
            return
    raise AssertionError("no end")


def test_damaged_checkpoints_are_passed_over(tmp_path: Path) -> None:
    every = "--last_checkpoint.every_n_train_steps=1"
    assert run(arguments(tmp_path, every, *signalled(3))) == -signal.SIGKILL
    last, previous = (checkpoints(tmp_path) / f"{name}.ckpt" for name in ("last", "previous"))
    assert (step_of(last), step_of(previous)) == (3, 2)
    os.truncate(last, last.stat().st_size // 2)
    line = arguments(tmp_path, "--resume", "--trainer.max_epochs=1")
    with pytest.warns(UserWarning, match=r"last\.ckpt is no checkpoint, or is damaged or cut off"):
        resumed = command.run(line)
    assert resumed.resumption is not None
    assert (resumed.resumption.checkpoint, resumed.resumption.step) == (previous, 2)
    assert resumed.trainer.global_step == STEPS_PER_EPOCH
    for path in last.parent.iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="nothing to resume"):
        assert main(line) == 0
    assert (tmp_path / "version_1").exists()


class KillWorker(Callback):
    """Kill a DataLoader's worker in mid-epoch, as the system does where memory runs out."""

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        loader: Any = trainer.train_dataloader
        worker = loader._iterator._workers[0]
        if worker.is_alive():  # else it is dead already, and another batch was there before
            os.kill(worker.pid, signal.SIGKILL)


def test_a_killed_worker_ends_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    killer = "--trainer.callbacks+=tests.training.resume.test_faults.KillWorker"
    assert run(arguments(tmp_path, "--data.num_workers=2", killer)) == 1
    said = capfd.readouterr().err
    assert "kdna-zoo: a process that loads the data was killed" in said
    assert "--data.num_workers" in said
    assert run(arguments(tmp_path, "--resume", "--trainer.max_epochs=1")) == 0


class BreakLoss(Callback):
    """Make some steps' images not finite, so that loss, gradients and batch norm break."""

    def __init__(self, steps: list[int]) -> None:
        self.steps = steps
        self.buffers: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step in self.steps:
            batch[0][0] = float("nan")


def broken(folder: Path, steps: str, *more: str) -> list[str]:
    return [
        *arguments(folder, "--trainer.max_epochs=1"),
        "--trainer.callbacks+=tests.training.resume.test_faults.BreakLoss",
        f"--trainer.callbacks.steps={steps}",
        "--last_checkpoint.every_n_train_steps=1",
        *more,
    ]


def test_a_loss_that_is_not_finite_stops_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(broken(tmp_path, "[2]")) == 1
    assert "the loss is not finite since step 2 (epoch 0)" in capsys.readouterr().err
    assert step_of(checkpoints(tmp_path) / "last.ckpt") == 2


def test_steps_that_are_not_finite_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.warns(UserWarning, match=r"left out a step .* at step 2 \(epoch 0\)"):
        assert main(broken(tmp_path, "[2]", "--skip_nonfinite=1")) == 0
    last = torch.load(checkpoints(tmp_path) / "last.ckpt", weights_only=True)
    assert last["global_step"] == STEPS_PER_EPOCH
    assert all(bool(torch.isfinite(t).all()) for t in last["state_dict"].values())
    with pytest.warns(UserWarning, match="left out a step"):
        assert main(broken(tmp_path, "[1, 3]", "--skip_nonfinite=1")) == 1
    error = capsys.readouterr().err
    assert "not finite at step 3 (epoch 0), after 1 such steps were left out" in error
    assert step_of(tmp_path / "version_1" / "checkpoints" / "last.ckpt") == 3


def test_sigterm_saves_and_resumes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(arguments(tmp_path, *signalled(2, signal.SIGTERM))) == 143
    said = capfd.readouterr().err
    assert "kdna-zoo: stopped by signal 15 after step 3 (epoch 0)" in said
    assert step_of(checkpoints(tmp_path) / "last.ckpt") == 3
    assert run(arguments(tmp_path, "--resume")) == 0


class TerminateAll(SignalAt):
    """Send a signal to the workers too, as a cluster does to each process of a job."""

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if trainer.global_step == self.step:
            loader: Any = trainer.train_dataloader
            for worker in loader._iterator._workers:
                os.kill(worker.pid, self.number)
            time.sleep(0.5)  # long enough for one to die
        super().on_before_optimizer_step(trainer, pl_module, optimizer)


def test_workers_leave_signals_to_the_trainer(tmp_path: Path) -> None:
    term = f"--trainer.callbacks.number={int(signal.SIGTERM)}"
    all_of_them = "--trainer.callbacks+=tests.training.resume.test_faults.TerminateAll"
    options = ("--data.num_workers=2", all_of_them, "--trainer.callbacks.step=2", term)
    assert run(arguments(tmp_path, *options)) == 143
    assert step_of(checkpoints(tmp_path) / "last.ckpt") == 3


def test_slurm_requeues_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SLURM's signal comes; `scontrol` is asked for a requeue; the same command goes on."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tools / "scontrol").chmod(0o755)
    slurm = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "41",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "1",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NODEID": "0",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NNODES": "1",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "runs"
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    line = arguments(folder, "--trainer.max_epochs=1", "--trainer.num_nodes=1")
    assert run([*line, *signalled(2, signal.SIGUSR1)]) == 0
    assert (tmp_path / "asked").read_text() == "requeue 41\n"
    assert step_of(folder / "hpc_ckpt_1.ckpt") == 3
    for path in checkpoints(folder).iterdir():  # as if the job had ended there
        path.unlink()
    assert main(line) == 2, "a new job is no requeued one"
    assert "hpc_ckpt_1.ckpt is the state of a job that SLURM was to requeue" in (
        capsys.readouterr().err
    )
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    resumed = command.run(line)
    assert resumed.resumption is not None
    assert (resumed.resumption.checkpoint.name, resumed.resumption.step) == ("hpc_ckpt_1.ckpt", 3)
    assert step_of(checkpoints(folder) / "last.ckpt") == STEPS_PER_EPOCH
    assert sorted(path.name for path in folder.iterdir()) == ["hpc_ckpt_1.ckpt", "version_0"]
