"""Validations in the middle of an epoch, in which a run is killed or told to stop."""

import os
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from tests.training.killed import arguments, run, signalled
from tests.training.resume.test_resume import assert_same, assert_same_run, last, rows

pytestmark = pytest.mark.integration

OFTEN = ("--trainer.val_check_interval=2", "--last_checkpoint.every_n_train_steps=1", "--resume")


class KillInValidation(Callback):
    """Kill this process in the validation after a step."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        if trainer.global_step == self.after:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(after: int) -> list[str]:
    name = "tests.training.resume.test_validation_within_an_epoch.KillInValidation"
    return [f"--trainer.callbacks+={name}", f"--trainer.callbacks.after={after}"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert run(arguments(folder, *OFTEN)) == 0
    return folder


def assert_same_best(resumed: Path, whole: Path) -> None:
    """The best checkpoint is of the same step, with the same weights and score."""
    a, b = (
        torch.load(folder / "version_0" / "checkpoints" / "best.ckpt", weights_only=True)
        for folder in (resumed, whole)
    )
    assert a["global_step"] == b["global_step"]
    assert_same(a["state_dict"], b["state_dict"])
    scores = [
        state["best_model_score"]
        for checkpoint in (a, b)
        for name, state in checkpoint["callbacks"].items()
        if name.startswith("ModelCheckpoint")
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("after", [2, 4, 7])
def test_a_validation_that_was_killed_is_made_up(after: int, tmp_path: Path, whole: Path) -> None:
    """Steps 2 and 4 of each epoch of 5 are validated, and each may be the best."""
    assert run(arguments(tmp_path, *OFTEN, *killed(after))) == -signal.SIGKILL
    assert last(tmp_path)["global_step"] == after - 1, "the validation is part of the step"
    assert run(arguments(tmp_path, *OFTEN)) == 0
    validated = [row["step"] for row in rows(tmp_path) if "val/top1" in row]
    assert validated == ["1", "3", "6", "8"]
    assert_same_run(tmp_path, whole)
    assert_same_best(tmp_path, whole)


def test_a_signal_is_heeded_after_the_validation(tmp_path: Path, whole: Path) -> None:
    term = signalled(1, signal.SIGTERM)
    assert run(arguments(tmp_path, *OFTEN, *term)) == 128 + signal.SIGTERM
    assert last(tmp_path)["kdna_zoo"]["metrics"]["images"] > 0
    assert last(tmp_path)["global_step"] == 2
    assert run(arguments(tmp_path, *OFTEN)) == 0
    assert_same_run(tmp_path, whole)
    assert_same_best(tmp_path, whole)


def test_a_validation_that_was_made_is_not_made_again(tmp_path: Path, whole: Path) -> None:
    """Killed in the step after it, whose checkpoint has the validation in it."""
    assert run(arguments(tmp_path, *OFTEN, *signalled(2))) == -signal.SIGKILL
    found = last(tmp_path)
    assert found["global_step"] == 2
    assert found["kdna_zoo"]["metrics"]["images"] > 0
    assert run(arguments(tmp_path, *OFTEN)) == 0
    assert_same_run(tmp_path, whole)
    assert_same_best(tmp_path, whole)
