"""The training commands, run as a user runs them, on a tiny network and the embedded images."""

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from kdna_zoo.data import ImageData
from kdna_zoo.errors import UserError
from kdna_zoo.training.command import cli as command
from tests.data.conftest import write_folder
from tests.training.support import TINY, fit, top1


def test_a_run_leaves_its_record(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["arch"] == "test_kdna_resnet"
    assert config["seed_everything"] == 0
    run = json.loads((folder / "run.json").read_text())
    assert run["seed"] == 0
    assert run["command"].startswith("kdna-zoo fit --model.arch=test_kdna_resnet")
    assert run["versions"]["torch"] == torch.__version__
    assert set(run) >= {"hardware", "git_commit"}
    assert list(folder.glob("events.out.tfevents.*"))
    assert not list(folder.rglob("hparams.yaml")), "config.yaml says it all"
    saved = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert saved == ["best.ckpt", "last.ckpt", "previous.ckpt"]


def test_a_run_leaves_its_result(trained: command.CLI, folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    assert result["final"]["top1"] == pytest.approx(top1(trained))
    assert result["final"]["images"] == 1000
    assert result["final"]["step"] == result["steps"] == 24
    assert result["best"]["top1"] >= result["final"]["top1"]
    assert result["images_per_second"] > 0
    assert result["checkpoints"] == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    assert Image.open(folder / "learning_curve.png").size == (1080, 432)


def test_metrics_are_logged(folder: Path) -> None:
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for column in ("train/loss_step", "train/loss_epoch", "val/loss", "val/top1", "val/top5"):
        assert any(row[column] for row in rows), column
    rates = [float(row["lr-SGD/pg1"]) for row in rows if row["lr-SGD/pg1"]]
    assert rates[0] < max(rates), "the warm-up starts low"
    assert any(float(row["train/device/samples_per_sec"] or 0) > 0 for row in rows)


def test_the_schedule_counts_steps(trained: command.CLI) -> None:
    scheduler = trained.trainer.lr_scheduler_configs[0].scheduler
    assert scheduler.t_initial == 24  # 2 epochs of 12 steps
    assert scheduler.warmup_t == 6
    assert trained.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)


def test_static_attentions_and_norms_are_not_decayed(trained: command.CLI) -> None:
    groups = trained.trainer.optimizers[0].param_groups
    undecayed = {id(p) for g in groups if g["weight_decay"] == 0 for p in g["params"]}
    for name, parameter in trained.model.named_parameters():
        assert (id(parameter) in undecayed) == (parameter.ndim <= 1), name
    attentions = [p for n, p in trained.model.named_parameters() if n.endswith("filter_attn")]
    assert attentions
    assert all(id(p) in undecayed for p in attentions)


def test_the_checkpoint_carries_its_record(trained: command.CLI, folder: Path) -> None:
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    record = checkpoint["kdna_zoo"]
    assert json.loads(json.dumps(record)) == record, "plain JSON types"
    assert record["arch"] == "test_kdna_resnet"
    assert record["label_names"][9] == "Ankle boot"
    assert record["data_config"]["input_size"] == [3, 28, 28]
    assert record["metrics"]["images"] == 1000
    assert record["metrics"]["split"] == "test"
    assert record["metrics"]["top1"] == pytest.approx(top1(trained))
    assert record["run"]["epochs"] == 2.0
    assert record["run"]["steps"] == 24
    recipe = yaml.safe_load(record["run"]["recipe"])
    assert recipe["trainer"]["max_epochs"] == 2
    assert recipe["model"]["optimizer"]["lr"] == 0.1, "defaults are resolved too"
    assert "hyper_parameters" not in checkpoint, "they would override the command line"


def test_validate_gives_the_checkpoints_figure(trained: command.CLI, folder: Path) -> None:
    checkpoint = folder / "checkpoints" / "last.ckpt"
    before = sorted(folder.parent.rglob("*"))
    validated = command.run(["validate", *TINY, f"--ckpt_path={checkpoint}"])
    assert top1(validated) == top1(trained)
    assert sorted(folder.parent.rglob("*")) == before, "evaluation writes nothing"


def test_test_runs_on_the_test_split(folder: Path) -> None:
    run = command.run(["test", *TINY, f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"])
    assert run.trainer.callback_metrics["test/images"] == 1000


def test_predict_writes_every_image(
    trained: command.CLI, folder: Path, tmp_path: Path
) -> None:  # fmt: skip
    checkpoint, target = folder / "checkpoints" / "last.ckpt", tmp_path / "deep" / "p.csv"
    command.run(["predict", *TINY, f"--ckpt_path={checkpoint}", f"--predictions.path={target}"])
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(1000))
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert right / 1000 == pytest.approx(top1(trained))
    assert all(0.1 <= float(row["probability"]) <= 1 for row in rows)


def test_predictions_name_the_file_and_the_class_that_was_learnt(
    folder: Path, tmp_path: Path
) -> None:
    root = write_folder(tmp_path / "odd [v1]", {"Testing": {"Bag": 2, "Shirt": 1}})
    target, checkpoint = tmp_path / "p.csv", folder / "checkpoints" / "last.ckpt"
    given = (f"--data.path={root}", f"--predictions.path={target}")
    run = command.run(["predict", *TINY, f"--ckpt_path={checkpoint}", *given])
    assert run.datamodule.label_names == ImageData().label_names
    with target.open() as file:
        rows = [(row["file"], row["label"]) for row in csv.DictReader(file)]
    assert rows == [
        (f"{root}/Testing/Bag/0.png", "Bag"),
        (f"{root}/Testing/Bag/1.jpg", "Bag"),
        (f"{root}/Testing/Shirt/0.png", "Shirt"),
    ]
    write_folder(root, {"Testing": {"Sofa": 1}})
    with pytest.raises(UserError, match=r"the checkpoint is of another network .* 10 classes"):
        command.run(["predict", *TINY, f"--ckpt_path={checkpoint}", *given])


@pytest.mark.integration
def test_same_seed_same_run(tmp_path: Path, trained: command.CLI) -> None:
    args = ("--trainer.limit_train_batches=4", "--trainer.limit_val_batches=0")
    first, second = (fit(tmp_path / name, *args).model.state_dict() for name in "ab")
    assert all(torch.equal(first[key], second[key]) for key in first)
    third = fit(tmp_path / "c", *args, "--seed_everything=1").model.state_dict()
    assert not torch.equal(first["model.conv1.weight"], third["model.conv1.weight"])


@pytest.mark.integration
def test_a_second_run_does_not_touch_the_first(tmp_path: Path) -> None:
    args = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1")
    dirs = [fit(tmp_path, *args).trainer.log_dir for _ in range(2)]
    assert dirs == [str(tmp_path / "version_0"), str(tmp_path / "version_1")]
    assert list((tmp_path / "version_1").glob("events.out.tfevents.*"))


def test_the_last_checkpoint_is_the_last(trained: command.CLI, folder: Path) -> None:
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == trained.trainer.global_step
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(last["state_dict"][name], tensor), name


@pytest.mark.integration
@pytest.mark.parametrize("option", ["logger=false", "enable_checkpointing=false"])
def test_what_the_user_turns_off_stays_off(tmp_path: Path, option: str) -> None:
    args = ("--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1")
    run = fit(tmp_path, *args, f"--trainer.{option}")
    assert bool(run.trainer.loggers) == (option != "logger=false")
    assert bool(list(tmp_path.rglob("*.ckpt"))) == (option != "enable_checkpointing=false")


def test_command_line_wins_over_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model:\n  optimizer:\n    lr: 0.5\n    momentum: 0.8\n")
    run = fit(
        tmp_path,
        f"--config={recipe}",
        "--model.optimizer.lr=0.25",
        "--trainer.limit_train_batches=1",
        "--trainer.limit_val_batches=0",
    )
    assert run.model.optimizer_config.lr == 0.25
    assert run.model.optimizer_config.momentum == 0.8
