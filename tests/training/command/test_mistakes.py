"""Bad input to the training commands: one line that says what to do, no traceback."""

import math
from pathlib import Path

import pytest
import torch

from kdna_zoo.cli.app import main
from tests.training.support import TINY


def test_unknown_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--model.arch=kdna_resnet81"]) == 2
    error = capsys.readouterr().err
    assert "timm knows no network named 'kdna_resnet81'; did you mean kdna_resnet18" in error


def test_unknown_key_in_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model:\n  archh: kdna_resnet18\n")
    assert main(["fit", f"--config={recipe}"]) == 2
    error = capsys.readouterr().err
    assert "model.archh" in error
    assert "did you mean model.arch" in error
    assert len(error.splitlines()) < 5, "not the whole usage"


def test_unknown_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model.optimzer.lr=1"]) == 2
    assert "did you mean model.optimizer" in capsys.readouterr().err


def test_recipe_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config=recipes/nowhere.yaml"]) == 2
    assert "recipes/nowhere.yaml" in capsys.readouterr().err


@pytest.mark.integration
def test_checkpoint_of_another_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = folder / "checkpoints" / "last.ckpt"
    arguments = [*TINY, f"--ckpt_path={checkpoint}", "--model.arch=kdna_mobilenetv2_050"]
    assert main(["validate", *arguments]) == 2
    error = capsys.readouterr().err
    assert "the checkpoint is of another network than this run's kdna_mobilenetv2_050" in error
    assert "it holds test_kdna_resnet with 10 classes" in error


def test_checkpoint_of_other_arguments(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = folder / "checkpoints" / "last.ckpt"
    wider = "--model.arch_args={channels: [8, 8, 16, 24]}"
    assert main(["validate", *TINY, f"--ckpt_path={checkpoint}", wider]) == 2
    error = capsys.readouterr().err
    assert "of another shape: 'model.layer4.0.conv1.weight' (" in error
    assert " in the file, " in error


@pytest.mark.integration
def test_nan_loss_in_mid_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rate jumps to 1e26 for the third step of the second epoch; the fourth sees it."""
    explode = ["--model.schedule.sched=step", "--model.schedule.decay_epochs=1.5"]
    assert main([*fit_arguments(tmp_path), *explode]) == 1
    error = capsys.readouterr().err
    assert "the loss is not finite since step 7 (epoch 1)" in error
    assert_last_is_good(tmp_path, capsys)


@pytest.mark.integration
def test_nan_after_the_last_step_of_an_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rate jumps for the last step of the second epoch; only its validation sees it."""
    explode = ["--model.schedule.sched=multistep", "--model.schedule.decay_milestones=[2]"]
    assert main([*fit_arguments(tmp_path), *explode]) == 1
    error = capsys.readouterr().err
    assert "the validation loss became nan after step 8 (epoch 1)" in error
    assert_last_is_good(tmp_path, capsys)


def fit_arguments(folder: Path) -> list[str]:
    return [
        "fit",
        *TINY,
        f"--trainer.default_root_dir={folder}",
        "--trainer.limit_train_batches=4",
        "--trainer.limit_val_batches=2",
        "--trainer.max_epochs=3",
        "--model.schedule.decay_rate=1e30",
        "--model.optimizer.lr=1e-4",
    ]


def assert_last_is_good(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last checkpoint is the first epoch's, and can be published."""
    checkpoint = folder / "version_0" / "checkpoints" / "last.ckpt"
    last = torch.load(checkpoint, weights_only=True)
    assert last["global_step"] == 4
    assert math.isfinite(last["kdna_zoo"]["metrics"]["loss"])
    assert main(["publish", str(checkpoint), "--to", str(folder / "published")]) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--model.arch=local-dir:nowhere",
            "there is no folder nowhere; local-dir: takes a",
        ),
        ("--model.pretrained=true", "there are no weights of test_kdna_resnet here"),
        ("--model.arch_args={nonsense: 1}", "unexpected keyword argument 'nonsense'"),
        ("--model.arch_args={num_classes: 3}", "set data.num_classes, not arch_args"),
        ("--model.label_smoothing=1.5", "label_smoothing must be at least 0 and below 1, got 1.5"),
        ("--model.optimizer.opt=sdg", "cannot make the optimizer 'sdg'"),
        ("--model.optimizer.lr=-1", "the optimizer 'sgd' refuses its settings: Invalid learning"),
        ("--model.optimizer.momentum=-1", "see --model.optimizer.lr, momentum, weight_decay"),
        ("--data.input_size=[3,-28,28]", "input_size (3, -28, 28): height and width are 1 pixel"),
        ("--data.crop_pct=-1", "crop_pct -1.0: the part of the image that is kept is above 0"),
        ("--data.std=[0.5,0,0.5]", "std (0.5, 0.0, 0.5): images are divided by it"),
        ("--model.schedule.sched=plateau", "unknown schedule 'plateau'; choose one of cosine"),
        ("--model.schedule.cooldown_epochs=3", "a cool-down of 3 epochs leaves nothing of a run"),
        ("--data.batch_size=0", "batch_size must be at least 1, got 0"),
        ("--ckpt_path=nowhere.ckpt", "no such checkpoint: nowhere.ckpt"),
        ("--ckpt_path=pyproject.toml", "pyproject.toml is no checkpoint, or is damaged"),
        ("--trainer.accelerator=nonsense", "nonsense"),
    ],
)
def test_one_line_for_each_mistake(
    option: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    folder = f"--trainer.default_root_dir={tmp_path}"
    assert main(["fit", *TINY, *arguments, folder, "--trainer.max_epochs=2", option]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.splitlines()[-1].startswith("kdna-zoo: ")


def test_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kdna_zoo.cli.app.TRAIN_PACKAGES", ("lightning", "not_installed"))
    assert main(["fit"]) == 2
    assert capsys.readouterr().err == (
        "kdna-zoo: `kdna-zoo fit` needs not_installed, which the 'train' extra brings: "
        'pip install "kdna-zoo[train]"\n'
    )
