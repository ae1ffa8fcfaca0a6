"""The average of the weights: measured, kept and published in place of the live ones."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kdna_zoo.cli.app import main
from kdna_zoo.training.command import cli as command
from tests.training.support import fit

pytestmark = pytest.mark.integration

SHORT = (
    "--trainer.limit_train_batches=3",
    "--trainer.limit_val_batches=2",
    "--trainer.num_sanity_val_steps=1",
    "--ema.decay=0.5",
)


def last(run: command.CLI) -> dict[str, Any]:
    checkpoint = Path(str(run.trainer.log_dir)) / "checkpoints" / "last.ckpt"
    loaded: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> command.CLI:
    return fit(tmp_path_factory.mktemp("ema"), *SHORT)


def test_the_checkpoint_holds_the_average_and_the_live_weights(
    averaged: command.CLI, tmp_path: Path
) -> None:
    """The first update copies, each later one takes half: checked on three recorded steps."""
    key = "model.conv1.weight"
    live = []
    for steps in (1, 2, 3):  # the schedule's end stays, so these are the steps of one run
        args = (*SHORT, "--ema.decay=0", f"--trainer.limit_train_batches={steps}")
        constant = ("--model.schedule.sched=constant",)
        live.append(last(fit(tmp_path / str(steps), *args, *constant))["state_dict"][key])
    checkpoint = last(fit(tmp_path / "ema", *SHORT, "--model.schedule.sched=constant"))
    expected = 0.25 * live[0] + 0.25 * live[1] + 0.5 * live[2]
    torch.testing.assert_close(checkpoint["state_dict"][key], expected)
    torch.testing.assert_close(checkpoint["current_model_state"][key], live[2])
    assert int(checkpoint["averaging_state"]["n_averaged"]) == 3


def test_validation_measures_what_is_published(averaged: command.CLI, tmp_path: Path) -> None:
    folder = Path(str(averaged.trainer.log_dir))
    checkpoint = folder / "checkpoints" / "last.ckpt"
    assert (
        main(["publish", str(checkpoint), "--to", str(tmp_path / "published"), "--weights", "ema"])
        == 0
    )
    loaded = ("--model.arch", f"local-dir:{tmp_path / 'published'}", "--model.pretrained", "true")
    validated = command.run(
        ["validate", *loaded, "--trainer.limit_val_batches=2", "--trainer.accelerator=cpu"]
    )
    for name in ("val/loss", "val/top1"):
        before = averaged.trainer.callback_metrics[name]
        assert float(validated.trainer.callback_metrics[name]) == pytest.approx(float(before))
    live = last(averaged)["current_model_state"]["model.fc.weight"]
    assert not torch.equal(live, last(averaged)["state_dict"]["model.fc.weight"])


def test_before_the_first_update_the_live_weights_count(tmp_path: Path) -> None:
    """Lightning would measure and save the weights of the start, however long it trained."""
    plain = fit(tmp_path / "plain", *SHORT, "--ema.decay=0")
    waiting = fit(tmp_path / "waiting", *SHORT, "--ema.from_epoch=5")
    losses = [float(run.trainer.callback_metrics["val/loss"]) for run in (plain, waiting)]
    assert losses[0] == losses[1]
    first, second = last(plain)["state_dict"], last(waiting)["state_dict"]
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_resumed_average_goes_on(tmp_path: Path) -> None:
    constant = "--model.schedule.sched=constant"
    whole = last(fit(tmp_path / "whole", *SHORT, constant, "--trainer.max_epochs=2"))
    half = fit(tmp_path / "half", *SHORT, constant)
    checkpoint = Path(str(half.trainer.log_dir)) / "checkpoints" / "last.ckpt"
    rest = fit(
        tmp_path / "rest", *SHORT, constant, "--trainer.max_epochs=2", f"--ckpt_path={checkpoint}"
    )
    assert int(last(rest)["averaging_state"]["n_averaged"]) == 6
    assert int(whole["averaging_state"]["n_averaged"]) == 6


def test_a_run_that_ends_between_checkpoints_keeps_its_live_weights(tmp_path: Path) -> None:
    """At the very end the average takes their place in the network."""
    seldom = ("--last_checkpoint.every_n_epochs=9", "--trainer.max_steps=2")
    more = ("--trainer.max_epochs=9", "--resume")
    for _ in range(2):  # the second time there is nothing left to do
        checkpoint = last(fit(tmp_path, *SHORT, *seldom, *more))
        live, average = (checkpoint[key] for key in ("current_model_state", "state_dict"))
        assert not torch.equal(live["model.conv1.weight"], average["model.conv1.weight"])


def test_an_average_given_up_leaves_the_live_weights(tmp_path: Path) -> None:
    """Not the average with the optimizer's state of other weights."""
    constant = "--model.schedule.sched=constant"
    options = (*SHORT, constant, "--resume")
    plain = last(fit(tmp_path / "plain", *options, "--ema.decay=0", "--trainer.max_epochs=2"))
    fit(tmp_path / "ema", *options)
    given_up = last(fit(tmp_path / "ema", *options, "--ema.decay=0", "--trainer.max_epochs=2"))
    assert given_up["global_step"] == plain["global_step"] == 6
    assert "current_model_state" not in given_up
    for key, weight in plain["state_dict"].items():
        assert torch.equal(given_up["state_dict"][key], weight), key


def test_decay_out_of_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--ema.decay=1.5", f"--trainer.default_root_dir={tmp_path}"]) == 2
    assert "ema.decay must be at least 0 (no average) and below 1" in capsys.readouterr().err


def test_indices_and_schedules_are_not_averaged(tmp_path: Path) -> None:
    kernel_warehouse = "--model.arch=test_kw_resnet"
    annealing = "--trainer.callbacks+=kdna_zoo.training.Annealing"
    epochs = "--trainer.callbacks.init_args.epochs=1"
    run = fit(tmp_path, *SHORT, kernel_warehouse, "--ema.decay=0.99", annealing, epochs)
    checkpoint = last(run)
    averaged, live = checkpoint["state_dict"], checkpoint["current_model_state"]
    indices = [key for key in live if key.endswith(".assigned")]
    schedules = [key for key in live if key.endswith(".annealed")]
    assert len(indices) == len(schedules) > 5
    assert all(torch.equal(averaged[key], live[key]) for key in indices)
    assert [float(averaged[key]) for key in schedules] == [0.0] * len(schedules)
