"""The progress of a run: a bar on a terminal, lines elsewhere, both with rate and time left."""

import os
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import Callback

from kdna_zoo.training.callbacks.progress import RunProgress, make_progress
from kdna_zoo.training.callbacks.progress_lines import LONGEST, ProgressLines, seconds_between
from kdna_zoo.training.command import cli as command
from tests.training.support import TINY, fit


def every(seconds: float) -> tuple[str, ...]:
    lines = "kdna_zoo.training.callbacks.progress_lines.ProgressLines"
    return (f"--trainer.callbacks+={lines}", f"--trainer.callbacks.seconds={seconds}")


class Shown(Callback):
    """Keep what stands beside the bar, after each batch of training and of the sanity check."""

    training: list[dict[str, Any]]
    checking: list[dict[str, Any]]

    def __init__(self) -> None:
        Shown.training, Shown.checking = [], []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        bar: Any = trainer.progress_bar_callback
        Shown.training.append(bar.get_metrics(trainer, pl_module))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        bar: Any = trainer.progress_bar_callback
        if trainer.sanity_checking:
            Shown.checking.append(bar.get_metrics(trainer, pl_module))


@pytest.mark.integration
def test_the_bar_says_the_rate_and_the_time_left(tmp_path: Path) -> None:
    run = fit(
        tmp_path,
        "--trainer.enable_progress_bar=true",
        "--trainer.limit_train_batches=4",
        "--trainer.limit_val_batches=1",
        "--trainer.callbacks+=kdna_zoo.training.callbacks.progress.RunProgress",
        "--trainer.callbacks+=tests.training.callbacks.test_progress.Shown",
    )
    assert isinstance(run.trainer.progress_bar_callback, RunProgress)
    assert Shown.checking
    assert not any("left" in shown for shown in Shown.checking), "before the first step"
    assert float(Shown.training[1]["images/s"]) > 0
    assert re.fullmatch(r"\d:\d\d:\d\d", Shown.training[1]["left"])
    assert "left" not in Shown.training[-1], "nothing is left after the last step"
    assert all("v_num" not in shown for shown in Shown.training)


def test_a_bar_on_a_terminal_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in many a CI: colours, not a terminal
    ours, theirs = os.openpty()
    with os.fdopen(ours), open(theirs, "w") as terminal, redirect_stdout(terminal):
        assert isinstance(make_progress(), RunProgress)
    with (tmp_path / "log").open("w") as file, redirect_stdout(file):
        assert isinstance(make_progress(), ProgressLines)


def test_lines_in_a_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as file, redirect_stdout(file):
        fit(
            tmp_path,
            "--trainer.enable_progress_bar=true",
            "--trainer.max_epochs=2",
            "--trainer.limit_train_batches=3",
            "--trainer.limit_val_batches=2",
            "--data.batch_size=8",
            *every(0),
        )
    lines = log.read_text().splitlines()
    number = r"\d+(\.\d+)?(e-\d+)?"
    rates = r"\d+ images/s, \d:\d\d:\d\d left"
    loss, val = f"train/loss {number}", f"val/loss {number}, val/top1 {number}"
    expected = [
        *(f"epoch 1/2, step {step}/6: {loss}, {rates}" for step in (1, 2, 3)),
        rf"epoch 1/2, validation batch 1/2: {rates}",
        r"epoch 1/2, validation batch 2/2: \d+ images/s",
        *(f"epoch 2/2, step {step}/6: {loss}, {val}, {rates}" for step in (4, 5)),
        rf"epoch 2/2, step 6/6: {loss}, {val}, \d+ images/s",
        rf"epoch 2/2, validation batch 1/2: {rates}",
        r"epoch 2/2, validation batch 2/2: \d+ images/s",
        rf"epoch 2/2, step 6/6: {loss}, {val}, \d+ images/s",
    ]
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


@pytest.mark.integration
def test_a_short_run_ends_with_its_only_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1")
    fit(tmp_path, "--trainer.enable_progress_bar=true", *few, "--data.batch_size=8", *every(1000))
    line = capsys.readouterr().out
    assert re.fullmatch(r"epoch 1/1, step 2/2: .+, \d+ images/s\n", line)


def test_lines_of_an_evaluation(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [option for option in TINY if "progress" not in option]
    options += [f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}", "--data.batch_size=10"]
    options += ["--trainer.limit_test_batches=2", f"--trainer.default_root_dir={tmp_path}"]
    command.run(["test", *options, *every(0)])
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert re.fullmatch(r"test batch 1/2: \d+ images/s, \d:\d\d:\d\d left", first)
    assert re.fullmatch(r"test batch 2/2: \d+ images/s", second)


@pytest.mark.parametrize(
    ("least", "in_all", "between"),
    [(10, 60, 10), (10, 5_000, 50), (10, 36_000, LONGEST), (600, 36_000, 600)],
)
def test_a_long_run_has_about_a_hundred_lines(least: float, in_all: float, between: float) -> None:
    assert seconds_between(least, in_all) == between
