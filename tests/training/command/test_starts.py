"""A run's commands as a user joins them, for each way in which a run can start."""

import csv
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from kdna_zoo.cli.app import main
from kdna_zoo.training.command import cli as command
from tests.training.support import TINY, fit, top1

pytestmark = pytest.mark.integration

STARTS = ("scratch", "pretrained", "fine_tuned", "local_dir", "streamed")
PUBLISHED = "--model.arch=kdna_mobilenetv2_050"
SHORT = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=2", "--data.batch_size=8")


def make_pictures(folder: Path, *names: str) -> Path:
    """Make a folder of some classes, with the splits that each command needs."""
    rng = np.random.default_rng(0)
    for split, images in (("train", 8), ("validation", 4), ("test", 4)):
        for name in names:
            (folder / split / name).mkdir(parents=True)
            for i in range(images):
                pixels = rng.integers(256, size=(28, 28, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures"), "ant", "bee", "cow")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    target = tmp_path_factory.mktemp("published") / "tiny"
    assert main(["publish", str(folder / "checkpoints" / "last.ckpt"), "--to", str(target)]) == 0
    return target


@pytest.fixture
def start(request: pytest.FixtureRequest, pictures: Path, published: Path) -> list[str]:
    own = f"--data.path={pictures}"
    local = (f"--model.arch=local-dir:{published}", "--model.pretrained=true")
    few = ("--data.train_split=train[:16]", "--data.test_split=test[:12]")
    options: dict[str, list[str]] = {
        "scratch": [own],
        "pretrained": [PUBLISHED, "--model.pretrained=true", *few],
        "fine_tuned": [own, PUBLISHED, "--model.pretrained=true"],
        "local_dir": [own, *local],
        "streamed": [own, "--data.streaming=true"],
    }
    return options[request.param]


@pytest.mark.parametrize("start", STARTS, indirect=True)
def test_the_commands_of_a_run(
    start: list[str],
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Fit, resume, validate, test, predict and publish, by options and by the run's own config."""
    first = fit(tmp_path, *SHORT, *start)
    assert first.trainer.global_step == 2
    resumed = fit(tmp_path, *SHORT, *start, "--trainer.max_epochs=2", "--resume")
    assert resumed.trainer.global_step == 4
    run = tmp_path / "version_0"
    checkpoint = run / "checkpoints" / "last.ckpt"
    given = f"--ckpt_path={checkpoint}"
    by_options = [*TINY, *SHORT, *start, given]
    by_config = [f"--config={run / 'config.yaml'}", given]
    for line in (by_options, by_config):
        assert top1(command.run(["validate", *line])) == top1(resumed)
        tested = command.run(["test", *line]).trainer.callback_metrics
        rows = predicted([*line, "--data.streaming=false"], tmp_path / "p.csv")
        assert len(rows) == tested["test/images"] == 12
        right = sum(row["label"] == row["predicted"] for row in rows)
        assert right / 12 == pytest.approx(float(tested["test/top1"]))
    said = [str(warning.message) for warning in recwarn]
    assert not [text for text in said if "random" in text], "a checkpoint was given"
    target = tmp_path / "published"
    assert main(["publish", str(checkpoint), "--to", str(target)]) == 0
    loaded = timm.create_model(f"local-dir:{target}", pretrained=True)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[f"model.{name}"]), name
    back = ["validate", *by_options[:-1], f"--model.arch=local-dir:{target}"]
    assert top1(command.run([*back, "--model.pretrained=true"])) == top1(resumed)


def predicted(line: list[str], file: Path) -> list[dict[str, str]]:
    command.run(["predict", *line, f"--predictions.path={file}"])
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_classes_of_a_checkpoint_are_the_datas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pictures: Path
) -> None:
    """With as many classes of other names each figure would be wrong; a number is no name."""
    run = fit(tmp_path, *SHORT, f"--data.path={pictures}")
    others = make_pictures(tmp_path / "others", "ant", "bee", "dog")
    line = [*TINY, f"--ckpt_path={run.trainer.log_dir}/checkpoints/last.ckpt"]
    for name in ("validate", "test", "predict"):
        assert main([name, *line, f"--data.path={others}"]) == 2
        said = capsys.readouterr().err
        assert (
            "the checkpoint's classes are not the data's: class 2 is 'cow' there and 'dog'" in said
        )
    numbers = make_pictures(tmp_path / "numbers", "0", "1", "2")
    assert main(["validate", *line, f"--data.path={numbers}"]) == 0


def test_a_folder_without_splits_is_held_out_from(tmp_path: Path) -> None:
    """With val_fraction alone: trained on the rest, tested and predicted on what is held out."""
    rng, flat = np.random.default_rng(0), tmp_path / "flat"
    for name in ("ant", "bee"):
        (flat / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(256, size=(28, 28, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(flat / name / f"{i}.png")
    own = (f"--data.path={flat}", "--data.val_fraction=0.2")
    run = fit(tmp_path, *SHORT, *own)
    assert run.trainer.callback_metrics["val/images"] == 4
    line = [*TINY, *own, f"--ckpt_path={run.trainer.log_dir}/checkpoints/last.ckpt"]
    tested = command.run(["test", *line]).trainer.callback_metrics
    assert tested["test/images"] == 4
    assert tested["test/loss"] == pytest.approx(float(run.trainer.callback_metrics["val/loss"]))
    rows = predicted(line, tmp_path / "p.csv")
    assert [row["label"] for row in rows] == ["ant", "ant", "bee", "bee"]
