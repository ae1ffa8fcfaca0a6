"""A run that is interrupted and resumed ends with the very weights of one that was not."""

import csv
import json
import random
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from kdna_zoo.cli.app import main
from kdna_zoo.data.sources.opening import EMBEDDED
from kdna_zoo.training.command import cli as command
from tests.training.killed import EPOCHS, STEPS_PER_EPOCH, arguments, run, signalled

pytestmark = pytest.mark.integration

STEPS = EPOCHS * STEPS_PER_EPOCH


def last(folder: Path, version: int = 0) -> dict[str, Any]:
    path = folder / f"version_{version}" / "checkpoints" / "last.ckpt"
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


def rows(folder: Path) -> list[dict[str, str]]:
    """What was logged of loss, accuracy and rate; the speed differs, and a resumed epoch's mean."""
    with (folder / "version_0" / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    kept = ("step", "train/loss_step", "val/loss", "val/top1", "lr-SGD/pg1")
    figures = [{key: row[key] for key in kept if row.get(key)} for row in found]
    return [row for row in figures if len(row) > 1]


def assert_same(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}/{index}")
    else:
        assert a == b, where


def assert_same_run(resumed: Path, whole: Path) -> None:
    a, b = last(resumed), last(whole)
    exact = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
    for key in (*exact, "global_step", "epoch"):
        assert_same(a[key], b[key], key)
    assert rows(resumed) == rows(whole)
    assert [path.name for path in resumed.iterdir()] == ["version_0"], "in its own folder"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(arguments(folder)) == 0
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_three_times_at_random(tmp_path: Path, whole: Path, workers: int) -> None:
    options = [
        f"--data.num_workers={workers}",
        f"--last_checkpoint.every_n_train_steps={random.randint(1, 2)}",
        "--resume",
    ]
    steps = sorted(random.sample(range(3, STEPS), 3))  # from the first checkpoint on
    for step in steps:
        assert run(arguments(tmp_path, *options, *signalled(step))) == -signal.SIGKILL
    assert run(arguments(tmp_path, *options)) == 0
    print(f"killed at {steps} with {options}")
    assert_same_run(tmp_path, whole)


def test_killed_with_an_end_in_steps(tmp_path: Path) -> None:
    """Lightning takes any resumed run with ``max_steps`` to be in the middle of an epoch."""
    end = ("--trainer.max_epochs=-1", f"--trainer.max_steps={STEPS - 2}", "--resume")
    assert run(arguments(tmp_path / "whole", *end)) == 0
    killed = arguments(tmp_path / "killed", *end, *signalled(STEPS_PER_EPOCH + 1))
    assert run(killed) == -signal.SIGKILL
    assert last(tmp_path / "killed")["global_step"] == STEPS_PER_EPOCH
    assert run(arguments(tmp_path / "killed", *end)) == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


class ReadsSteps(Callback):
    """Read what has Lightning make the loader before it knows where the run stands."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert trainer.estimated_stepping_batches == STEPS


@pytest.mark.parametrize("workers", [0, 2])
def test_the_position_is_kept_where_the_loader_is_made_early(
    tmp_path: Path, whole: Path, workers: int
) -> None:
    options = ["--last_checkpoint.every_n_train_steps=1", f"--data.num_workers={workers}"]
    assert run(arguments(tmp_path, *options, *signalled(8))) == -signal.SIGKILL
    early = "--trainer.callbacks+=tests.training.resume.test_resume.ReadsSteps"
    assert run(arguments(tmp_path, *options, "--resume", early)) == 0
    assert_same_run(tmp_path, whole)


def test_a_stream_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    stream = ("--data.streaming=true", f"--data.path={EMBEDDED}", "--data.train_split=test")
    loader = ("--data.num_workers=2", "--data.batch_size=200")
    options = (*stream, *loader, "--last_checkpoint.every_n_train_steps=1", "--resume")
    assert run(arguments(tmp_path / "whole", *options)) == 0
    assert run(arguments(tmp_path / "killed", *options, *signalled(7))) == -signal.SIGKILL
    assert run(arguments(tmp_path / "killed", *options)) == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def test_the_head_comes_first_in_a_resumed_epoch_too(tmp_path: Path) -> None:
    """Lightning does not tell callbacks of the start of an epoch that it goes on in."""
    head = ("--head_first.epochs=1", "--trainer.max_epochs=1", "--resume")
    options = (*head, "--last_checkpoint.every_n_train_steps=1")
    assert run(arguments(tmp_path / "whole", *options)) == 0
    assert run(arguments(tmp_path / "killed", *options, *signalled(3))) == -signal.SIGKILL
    assert run(arguments(tmp_path / "killed", *options)) == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def test_what_a_resumed_run_says_of_itself(tmp_path: Path) -> None:
    first = arguments(tmp_path, "--trainer.max_epochs=1")
    assert run(first) == 0
    before = last(tmp_path)["kdna_zoo"]["run"]
    assert run([*first, "--trainer.max_epochs=2", "--ckpt_path=last"]) == 0
    after = last(tmp_path)["kdna_zoo"]["run"]
    assert after["started"] == before["started"]
    assert after["seconds"] > before["seconds"] > 0
    assert after["epochs"] == 2.0
    record = json.loads((tmp_path / "version_0" / "run.json").read_text())
    assert "max_epochs=1" in record["command"]
    assert "--ckpt_path=last" in record["resumed"][0]["command"]
    result = json.loads((tmp_path / "version_0" / "result.json").read_text())
    assert result["steps"] == STEPS
    assert result["seconds"] >= after["seconds"]


@pytest.mark.parametrize("by_name", [False, True])
def test_options_of_the_command_win_over_the_checkpoints(by_name: bool, tmp_path: Path) -> None:
    """Also where the checkpoint has hyper-parameters, which LightningCLI would take over."""
    assert run(arguments(tmp_path, "--trainer.max_epochs=1")) == 0
    path = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    checkpoint = last(tmp_path)
    assert "hyper_parameters" not in checkpoint
    checkpoint["hyper_parameters"] = {"label_smoothing": 0.5, "arch": "resnet18"}
    torch.save(checkpoint, path)
    goes_on = f"--ckpt_path={path}" if by_name else "--resume"
    resumed = command.run(arguments(tmp_path, "--model.label_smoothing=0.25", goes_on))
    assert resumed.config["fit"]["model"]["label_smoothing"] == 0.25
    assert resumed.config["fit"]["ckpt_path"] == (str(path) if by_name else None)
    assert resumed.model.arch == "test_kdna_resnet"
    assert resumed.trainer.global_step == STEPS


def test_a_checkpoint_file_begins_a_run_of_its_own(tmp_path: Path) -> None:
    assert run(arguments(tmp_path, "--trainer.max_epochs=1")) == 0
    file = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    assert run(arguments(tmp_path, f"--ckpt_path={file}")) == 0
    assert last(tmp_path)["global_step"] == STEPS_PER_EPOCH
    assert last(tmp_path, 1)["global_step"] == STEPS


def test_a_run_without_a_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """A mistyped start after a long run does not have that begin again."""
    assert run(arguments(tmp_path, "--trainer.max_epochs=1")) == 0
    assert run(arguments(tmp_path, "--model.optimizer.opt=sdg")) == 2
    assert (tmp_path / "version_1").exists()
    with pytest.warns(UserWarning, match=r"no whole checkpoint in .*version_1"):
        assert main(arguments(tmp_path, "--resume")) == 0
    assert last(tmp_path)["global_step"] == STEPS
    assert not (tmp_path / "version_2").exists()


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="nothing to resume in .*: beginning from the start"):
        assert main(arguments(tmp_path, "--trainer.max_epochs=1", "--resume")) == 0
    assert last(tmp_path)["global_step"] == STEPS_PER_EPOCH


def test_another_seed_cannot_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments(tmp_path, "--trainer.max_epochs=1", "--seed_everything=3")) == 0
    assert main(arguments(tmp_path, "--resume", "--seed_everything=5")) == 2
    assert "has the seed 3, and this command 5: give --seed_everything 3" in capsys.readouterr().err
    file = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    assert run(arguments(tmp_path, f"--ckpt_path={file}", "--seed_everything=5")) == 0
    assert last(tmp_path, 1)["kdna_zoo"]["run"]["seed"] == 3, "what its data followed from"


def test_a_stream_cannot_go_on_with_other_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = ("--data.streaming=true", f"--data.path={EMBEDDED}", "--data.train_split=test")
    options = (*stream, "--data.batch_size=200", "--last_checkpoint.every_n_train_steps=1")
    assert run(arguments(tmp_path, *options, *signalled(3))) == -signal.SIGKILL
    assert main(arguments(tmp_path, *options, "--resume", "--data.num_workers=2")) == 2
    assert "num_workers was 0 and is 2. Give what it was" in capsys.readouterr().err


def test_other_batches_cannot_go_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    every = "--last_checkpoint.every_n_train_steps=1"
    assert run(arguments(tmp_path, every, *signalled(2))) == -signal.SIGKILL
    assert run(arguments(tmp_path, "--resume", "--data.batch_size=8")) == 2
    assert "batch_size was 16 and is 8. Give what it was" in capfd.readouterr().err


def test_what_cannot_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments(tmp_path, "--resume"), "--ckpt_path=some.ckpt"]) == 2
    assert "give --resume or --ckpt_path, not both" in capsys.readouterr().err
