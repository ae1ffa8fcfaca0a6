"""Options do what they say, alone and on resuming."""

from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models import create_model

from kdna_zoo.cli.app import main
from kdna_zoo.errors import UserError
from kdna_zoo.training.command import cli as command
from tests.training.support import TINY, fit, top1

pytestmark = pytest.mark.integration

SHORT = ("--trainer.limit_train_batches=4", "--trainer.limit_val_batches=1")
RATES = "--trainer.log_every_n_steps=1"


def rates(run: command.CLI) -> list[float]:
    """The learning rate at each step, as logged."""
    lines = Path(str(run.trainer.log_dir), "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("lr-SGD/pg1")
    return [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]


def test_max_steps_is_the_schedules_end(tmp_path: Path) -> None:
    run = fit(tmp_path, *SHORT, RATES, "--trainer.max_epochs=100", "--trainer.max_steps=6")
    assert run.trainer.global_step == 6
    assert run.trainer.lr_scheduler_configs[0].scheduler.t_initial == 6
    assert rates(run)[-1] < 0.02
    unlimited = fit(tmp_path, *SHORT, "--trainer.max_epochs=-1", "--trainer.max_steps=6")
    assert unlimited.trainer.lr_scheduler_configs[0].scheduler.t_initial == 6


def test_a_resumed_schedule_goes_on_with_the_options_given(tmp_path: Path) -> None:
    whole = rates(fit(tmp_path / "whole", *SHORT, RATES, "--trainer.max_epochs=3"))
    first = fit(tmp_path / "first", *SHORT, "--trainer.max_epochs=2")
    resume = f"--ckpt_path={first.trainer.log_dir}/checkpoints/last.ckpt"
    rest = fit(tmp_path / "rest", *SHORT, RATES, "--trainer.max_epochs=3", resume)
    assert rest.trainer.global_step == 12
    assert rates(rest) == pytest.approx(whole[8:])
    lower = ("--model.optimizer.lr=0.05", "--model.optimizer.weight_decay=0.5")
    halved = fit(tmp_path / "halved", *SHORT, RATES, "--trainer.max_epochs=3", resume, *lower)
    assert rates(halved) == pytest.approx([rate / 2 for rate in whole[8:]])
    assert {g["weight_decay"] for g in halved.trainer.optimizers[0].param_groups} == {0.0, 0.5}


def test_the_last_checkpoint_is_the_last_without_validation(tmp_path: Path) -> None:
    every_two = ("--trainer.check_val_every_n_epoch=2", "--trainer.max_epochs=3")
    run = fit(tmp_path, *SHORT, *every_two)
    last = torch.load(f"{run.trainer.log_dir}/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 12
    assert last["kdna_zoo"]["metrics"] is None, "measured four steps before"


def test_a_control_of_the_ablation_is_trained_and_recorded(tmp_path: Path) -> None:
    run = fit(tmp_path, *SHORT, "--model.arch_args.ablation=own_channel")
    assert run.model.model.sharing_plan.own_kernels
    last = torch.load(f"{run.trainer.log_dir}/checkpoints/last.ckpt", weights_only=True)
    assert last["kdna_zoo"]["arch_args"] == {"ablation": "own_channel"}
    with pytest.raises(UserError, match="unknown ablation 'd'; choose one of own, own_channel, sh"):
        fit(tmp_path, "--model.arch_args.ablation=d")


def test_accumulation_counts_updates(tmp_path: Path) -> None:
    run = fit(tmp_path, *SHORT, "--trainer.accumulate_grad_batches=2")
    assert run.trainer.lr_scheduler_configs[0].scheduler.t_initial == 2
    assert run.model.updates_per_epoch == run.trainer.global_step == 2


def test_optimizer_and_schedule_options_arrive(tmp_path: Path) -> None:
    run = fit(
        tmp_path,
        *SHORT,
        RATES,
        "--model.optimizer.opt=adamw",
        "--model.optimizer.opt_args={betas: [0.8, 0.9]}",
        "--model.optimizer.layer_decay=0.5",
        "--model.schedule.min_lr=0.01",
    )
    groups = run.trainer.optimizers[0].param_groups
    assert {tuple(group["betas"]) for group in groups} == {(0.8, 0.9)}
    assert min(group["lr_scale"] for group in groups) < max(g["lr_scale"] for g in groups) == 1
    assert max(group["lr"] for group in groups) == pytest.approx(0.01)


def test_label_smoothing_and_channels_last_arrive(tmp_path: Path) -> None:
    seen: list[bool] = []
    args = ("--trainer.max_steps=1", "--trainer.limit_val_batches=0", "--model.optimizer.lr=0")
    plain = fit(tmp_path, *args)
    smooth = fit(tmp_path, *args, "--model.label_smoothing=0.4")
    losses = [float(run.trainer.callback_metrics["train/loss_step"]) for run in (plain, smooth)]
    assert losses[0] != losses[1]
    last = fit(tmp_path, *args, "--model.channels_last=true").model
    last.model.register_forward_pre_hook(
        lambda _, x: seen.append(x[0].is_contiguous(memory_format=torch.channels_last))
    )
    last(torch.randn(2, 3, 28, 28))
    weight: Any = last.model.layer1[0].conv1.weight
    assert seen == [True]
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_arguments_of_the_network_reach_the_published_one(tmp_path: Path) -> None:
    run = fit(tmp_path, *SHORT, "--model.arch_args={channels: [8, 8, 16, 24]}")
    checkpoint = f"{run.trainer.log_dir}/checkpoints/last.ckpt"
    assert main(["publish", checkpoint, "--to", str(tmp_path / "published")]) == 0
    loaded = create_model(f"local-dir:{tmp_path / 'published'}", pretrained=True).eval()
    x = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        assert torch.equal(loaded(x), run.model.eval()(x))


def test_a_published_network_is_evaluated_on_its_own_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit(tmp_path, *SHORT, "--trainer.limit_val_batches=16")
    checkpoint = f"{run.trainer.log_dir}/checkpoints/last.ckpt"
    assert main(["publish", checkpoint, "--to", str(tmp_path / "published")]) == 0
    loaded = [f"--model.arch=local-dir:{tmp_path / 'published'}", "--model.pretrained=true"]
    assert top1(command.run(["validate", *TINY[1:], *loaded])) == top1(run)
    capsys.readouterr()
    assert main(["validate", *TINY[1:], *loaded, "--data.num_classes=12"]) == 2
    error = capsys.readouterr().err
    assert "the published network has 10 classes and the data 12, so its head would be" in error
    config = tmp_path / "published" / "config.json"
    config.write_text(config.read_text().replace("Sandal", "Clog"))
    assert main(["validate", *TINY[1:], *loaded]) == 2
    assert "class 5 is 'Clog' there and 'Sandal' here" in capsys.readouterr().err


def test_random_weights_are_said_to_be_random() -> None:
    with pytest.warns(UserWarning, match="this network has random weights: give --ckpt_path"):
        command.run(["validate", *TINY, "--trainer.limit_val_batches=1"])
