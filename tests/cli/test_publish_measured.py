"""``kdna-zoo publish --measure``: the card's figure is what its own command prints."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from kdna_zoo.cli._measure import measure_folder
from kdna_zoo.cli.app import main
from kdna_zoo.errors import UserError
from kdna_zoo.records.record import Metrics
from kdna_zoo.release.checkpoint import TrainedModel, read_checkpoint
from kdna_zoo.training.command import cli as command

pytestmark = pytest.mark.integration

FIT = (
    *("fit", "--config", "recipes/quickstart.yaml", "--model.arch", "test_kdna_resnet"),
    *("--model.arch_args", "null", "--trainer.max_epochs", "1", "--trainer.limit_train_batches"),
    *("3", "--trainer.limit_val_batches", "2", "--trainer.enable_progress_bar", "false"),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    command.run([*FIT, "--trainer.default_root_dir", str(folder)])
    return next(folder.rglob("last.ckpt"))


@pytest.fixture(scope="module")
def trained(checkpoint: Path) -> TrainedModel:
    return read_checkpoint(checkpoint)


@pytest.fixture(scope="module")
def published(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "test_kdna_resnet.tiny"
    assert main(["publish", str(checkpoint), "--to", str(folder), "--measure"]) == 0
    return folder


def test_the_figure_is_that_of_validate(published: Path, trained: TrainedModel) -> None:
    figures = json.loads((published / "metrics.json").read_text())
    assert trained.record.metrics is not None
    assert trained.record.metrics.images == 128
    assert figures["metrics"]["images"] == 1000, "all that the recipe validates on"
    card = (published / "README.md").read_text()
    line = next(line for line in card.splitlines() if line.startswith("kdna-zoo validate"))
    again = command.run(shlex.split(line.replace("local-dir:.", f"local-dir:{published}"))[1:])
    assert figures["metrics"]["top1"] == float(again.trainer.callback_metrics["val/top1"])
    assert figures["metrics"]["split"] == "test", "which the recipe leaves to be found"
    assert figures["throughput"]["images_per_second"] > 0
    assert f"{100 * figures['metrics']['top1']:.2f} %" in card
    assert "measured on the files beside this card" in card


def test_half_precision_must_cost_nothing(published: Path, trained: TrainedModel) -> None:
    better = Metrics("test", 1000, top1=0.99, top5=None, loss=None)
    with pytest.raises(UserError, match=r"in half precision top-1 is .*%, and it was 99.00%: more"):
        measure_folder(published, replace(trained.record, metrics=better), half=True)


def test_a_run_without_a_recipe_cannot_be_measured(published: Path, trained: TrainedModel) -> None:
    record = replace(trained.record, run=replace(trained.record.run, recipe=None))
    with pytest.raises(UserError, match=r"--measure and --half need the images that the training"):
        measure_folder(published, record, half=False)
