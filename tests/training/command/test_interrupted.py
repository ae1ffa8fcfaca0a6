"""Ctrl-C and SIGTERM in a training command: one line, the right exit code, nothing half written."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import Callback

from kdna_zoo.cli.app import main
from tests.training.killed import EPOCHS, STEPS_PER_EPOCH, arguments, run, signalled
from tests.training.resume.test_faults import checkpoints, step_of
from tests.training.resume.test_resume import assert_same
from tests.training.resume.test_resume import last as last_checkpoint
from tests.training.support import TINY

pytestmark = pytest.mark.integration

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
REASONS = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by signal 15"}
SILENT = ("Traceback", "KeyboardInterrupt", "Detected")


@pytest.fixture(autouse=True)
def _as_in_a_shell() -> Iterator[None]:
    """Lets signals do what they do outside of pytest."""
    ours = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in ours.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class SignalIn(Callback):
    """Send signals to this process in a hook, as often as asked for."""

    def __init__(self, hook: str, number: int, times: int = 1, step: int = 0) -> None:
        self.number, self.times, self.step = number, times, step
        setattr(self, hook, self._send)

    def _send(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.global_step >= self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)
            self.times = 0


def signals(hook: str, number: int, times: int = 1, step: int = 0) -> list[str]:
    return [
        "--trainer.callbacks+=tests.training.command.test_interrupted.SignalIn",
        f"--trainer.callbacks.hook={hook}",
        f"--trainer.callbacks.number={int(number)}",
        f"--trainer.callbacks.times={times}",
        f"--trainer.callbacks.step={step}",
    ]


def last_line(capfd: pytest.CaptureFixture[str]) -> str:
    said = capfd.readouterr().err
    assert not [word for word in SILENT if word in said], said
    return said.splitlines()[-1]


def test_ctrl_c_saves_and_the_run_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the middle of a step; a terminal sends it to the workers too."""
    load = "--data.num_workers=2"
    assert run(arguments(tmp_path / "whole", load)) == 0
    line = arguments(tmp_path / "cut", load, *signalled(2, signal.SIGINT))
    line = [part.replace("killed.SignalAt", "resume.test_faults.TerminateAll") for part in line]
    assert run(line) == 130
    last = checkpoints(tmp_path / "cut") / "last.ckpt"
    said = last_line(capfd)
    assert said.startswith("kdna-zoo: stopped by Ctrl-C after step 3 (epoch 0); its state is in ")
    assert said.endswith(f"{last}: go on with --resume")
    assert step_of(last) == 3
    assert run(arguments(tmp_path / "cut", load, "--resume")) == 0
    ends = (last_checkpoint(tmp_path / "cut"), last_checkpoint(tmp_path / "whole"))
    for key in ("state_dict", "current_model_state", "optimizer_states", "global_step"):
        assert_same(ends[0][key], ends[1][key], key)


def test_ctrl_c_twice_ends_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hook = "on_before_optimizer_step"
    assert run(arguments(tmp_path, *signals(hook, signal.SIGINT, 2))) == 130
    said = last_line(capfd)
    assert said == (
        "kdna-zoo: interrupted: there is no last.ckpt yet; the same command begins again"
    )
    twice = signals(hook, signal.SIGINT, 2, STEPS_PER_EPOCH + 1)
    assert run(arguments(tmp_path, *twice)) == 130
    last = tmp_path / "version_1" / "checkpoints" / "last.ckpt"
    assert last_line(capfd) == (
        f"kdna-zoo: interrupted: the newest checkpoint is {last}; the same command with --resume "
        "goes on from it"
    )
    assert step_of(last) == STEPS_PER_EPOCH
    assert run(arguments(tmp_path, "--resume")) == 0
    assert step_of(last) == EPOCHS * STEPS_PER_EPOCH


def test_ctrl_c_in_a_validation_waits_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hook = signals("on_validation_batch_end", signal.SIGINT, step=STEPS_PER_EPOCH)
    assert run(arguments(tmp_path, *hook)) == 130
    said = capfd.readouterr().err
    assert "kdna-zoo: saving and stopping after this validation; Ctrl-C again stops at once" in said
    assert f"stopped by Ctrl-C after step {STEPS_PER_EPOCH} (epoch 0)" in said.splitlines()[-1]
    assert step_of(checkpoints(tmp_path) / "last.ckpt") == STEPS_PER_EPOCH


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("hook", ["setup", "on_sanity_check_start", "on_fit_start"])
def test_before_the_first_step(
    hook: str, number: signal.Signals, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = arguments(tmp_path, "--trainer.num_sanity_val_steps=2", *signals(hook, number))
    code = run(line)
    said = last_line(capfd)
    assert code == CODES[number], said
    assert said.startswith("kdna-zoo: ")
    assert REASONS[number] in said
    assert "begins again" in said or "--resume" in said
    if hook == "setup":
        assert run(arguments(tmp_path, "--resume", "--trainer.max_epochs=1")) == 0


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("subcommand", ["validate", "test"])
def test_an_evaluation(
    subcommand: str, number: signal.Signals, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hook = "on_validation_batch_end" if subcommand == "validate" else "on_test_batch_end"
    line = [subcommand, *TINY, f"--trainer.default_root_dir={tmp_path}", *signals(hook, number)]
    assert run(line) == CODES[number]
    assert last_line(capfd) == (
        f"kdna-zoo: {REASONS[number]}: nothing was written; the same command begins again"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", CODES)
def test_a_prediction(
    number: signal.Signals, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "predictions.csv"
    file.write_text("old")
    line = ["predict", *TINY, f"--predictions.path={file}"]
    assert run([*line, *signals("on_predict_batch_end", number)]) == CODES[number]
    assert last_line(capfd) == (
        f"kdna-zoo: {REASONS[number]}: {file} is as it was; the same command begins again"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]
    assert file.read_text() == "old"


def test_what_a_killed_prediction_leaves_goes_with_the_next(tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    line = ["predict", *TINY, f"--predictions.path={file}", "--trainer.limit_predict_batches=2"]
    kill = signals("on_predict_batch_end", signal.SIGKILL)
    assert run([*line, *kill]) == -signal.SIGKILL
    assert (tmp_path / ".predictions.csv.0").exists()
    (tmp_path / ".predictions.csv.1").write_text("of a second process")
    (tmp_path / ".predictions.csv.old").write_text("a user's own")
    assert run(line) == 0
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".predictions.csv.old", "predictions.csv"]


def test_a_disk_that_is_full_from_the_start(
    small_disk: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # not pytest's
    (small_disk / "filler").write_bytes(bytes(2**22 - 8192))
    assert main(arguments(small_disk)) == 1
    said = last_line(capfd)
    assert said.startswith("kdna-zoo: the disk is full: [Errno 28] No space left on device")


@pytest.mark.parametrize("subcommand", ["fit", "predict"])
def test_a_disk_that_takes_no_file(
    subcommand: str, read_only_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = [subcommand, *TINY, f"--trainer.default_root_dir={read_only_disk}/runs"]
    assert main(line) == 2
    assert "kdna-zoo: cannot write there: [Errno 30] Read-only file system" in last_line(capfd)
