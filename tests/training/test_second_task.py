"""A task of another kind shares all that is not about classes: other batches, losses in parts.

It tells of each image how bright it is and where its brightness lies, from the maps of a KernelDNA
network; a detector is made in the same way.
"""

import csv
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanSquaredError, MetricCollection, SumMetric

from kdna_zoo.data import ImageData
from kdna_zoo.errors import RunError
from kdna_zoo.records.record import parse_record
from kdna_zoo.training import BaseTask, OptimizerConfig, ScheduleConfig
from kdna_zoo.training.command import cli as command
from kdna_zoo.training.network import recorded_as

SGD = OptimizerConfig()
COSINE = ScheduleConfig()


class Weighing(nn.Module):
    """A network's maps (N, C, H, W) -> the weight of each position (N, H, W)."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(backbone.num_features, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        weights: Tensor = self.head(self.backbone.forward_features(images))
        return weights.squeeze(1)


class BrightnessTask(BaseTask):
    """Regress the brightness of an image and of its parts."""

    main_metric = "error"
    higher_is_better = False

    def __init__(
        self,
        arch: str = "test_kdna_resnet",
        arch_args: dict[str, Any] | None = None,
        part_weight: float = 0.5,
        optimizer: OptimizerConfig = SGD,
        schedule: ScheduleConfig = COSINE,
    ) -> None:
        self.given = (arch, arch_args or {})
        self.part_weight = part_weight
        super().__init__(optimizer, schedule)

    def configure_models(self) -> None:
        arch, arguments = self.given
        self.model = Weighing(timm.create_model(arch, **arguments))

    def configure_losses(self) -> None:
        self.loss = F.smooth_l1_loss

    def configure_metrics(self) -> None:
        metrics = MetricCollection(
            {"error": MeanSquaredError(), "images": SumMetric()}, compute_groups=False
        )
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")

    @property
    def network(self) -> nn.Module:
        model: Any = self.model
        backbone: nn.Module = model.backbone
        return backbone

    def compute_losses(self, batch: Any) -> dict[str, Tensor]:
        found = self(batch[0])  # (N, H, W)
        true = F.adaptive_avg_pool2d(batch[0], found.shape[1:]).mean(dim=1)
        return {
            "loss_whole": self.loss(found.mean(dim=(1, 2)), true.mean(dim=(1, 2))),
            "loss_parts": self.part_weight * self.loss(found, true),
        }

    def update_metrics(self, metrics: MetricCollection, batch: Any) -> None:
        images = batch[0]
        metrics["error"].update(self(images).mean(dim=(1, 2)), images.mean(dim=(1, 2, 3)))
        metrics["images"].update(len(images))


class Cut(pl.Callback):
    """Ends a run in the middle of its second epoch."""

    def on_train_batch_start(self, trainer: pl.Trainer, *others: Any) -> None:
        if trainer.global_step == 4:
            raise OSError("the machine went down")


def run(folder: Path, *more: str, subcommand: str = "fit") -> command.CLI:
    short = [
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
        *("--trainer.limit_train_batches=3", "--trainer.limit_val_batches=2"),
        *("--data.input_size=[3,28,28]", "--data.batch_size=8", "--trainer.log_every_n_steps=1"),
        *("--checkpoint.monitor=val/error", "--checkpoint.mode=min", "--ema.decay=0.5"),
        *(
            "--trainer.max_epochs=2",
            f"--trainer.default_root_dir={folder}",
            "--model.part_weight=2",
        ),
    ]
    return command.run([subcommand, *short, *more], BrightnessTask, ImageData)


def checkpoint_of(folder: Path, name: str = "last") -> dict[str, Any]:
    path = folder / "version_0" / "checkpoints" / f"{name}.ckpt"
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brightness")
    run(folder)
    return folder


def test_its_losses_are_logged_by_part(folder: Path) -> None:
    with (folder / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss_step"]]
    assert len(rows) == 6
    for row in rows:
        parts = [float(row[f"train/loss_{name}"]) for name in ("whole", "parts")]
        assert float(row["train/loss_step"]) == pytest.approx(sum(parts), rel=1e-6)


def test_its_checkpoint_has_the_record(folder: Path) -> None:
    raw = checkpoint_of(folder)["kdna_zoo"]
    assert json.loads(json.dumps(raw)) == raw, "plain JSON types"
    record = parse_record(raw)
    network = timm.create_model("test_kdna_resnet")
    assert (record.arch, record.arch_args) == recorded_as(network)
    assert (record.num_classes, record.label_names) == (0, [])
    assert raw["metrics"]["error"] > 0
    assert record.metrics is not None
    assert (record.metrics.images, record.metrics.top1) == (16, None)
    assert (record.run.steps, record.run.epochs, record.run.batch_size) == (6, 2.0, 8)
    assert record.run.command is not None
    assert record.run.seconds > 0


def test_its_run_has_a_result(folder: Path) -> None:
    result = json.loads((folder / "version_0" / "result.json").read_text())
    last = checkpoint_of(folder)["kdna_zoo"]["metrics"]
    assert result["final"] == {"step": 6, "split": "test", "images": 16, "error": last["error"]}
    assert result["best"]["error"] <= result["final"]["error"]
    assert (folder / "version_0" / "learning_curve.png").exists()


def test_it_is_resumed_to_the_same_bits(folder: Path, tmp_path: Path) -> None:
    whole = checkpoint_of(folder)
    cut = "--trainer.callbacks+=tests.training.test_second_task.Cut"
    with pytest.raises(RunError, match="the machine went down"):
        run(tmp_path, cut, "--last_checkpoint.every_n_train_steps=1")
    stopped = checkpoint_of(tmp_path)
    assert stopped["global_step"] == 4, "in the middle of its second epoch"
    resumed = run(tmp_path, "--resume")
    rest = checkpoint_of(tmp_path)
    for part in ("state_dict", "current_model_state"):  # the average, and the live weights
        assert len(rest[part]) == len(whole[part]) > 10
        assert all(torch.equal(rest[part][key], whole[part][key]) for key in whole[part]), part
    assert rest["kdna_zoo"]["metrics"] == whole["kdna_zoo"]["metrics"]
    before, after = stopped["kdna_zoo"]["run"], rest["kdna_zoo"]["run"]
    assert after["started"] == before["started"]
    assert after["seconds"] > before["seconds"]
    assert resumed.trainer.global_step == 6


def test_it_is_evaluated_and_loaded(folder: Path) -> None:
    path = folder / "version_0" / "checkpoints" / "last.ckpt"
    validated = run(folder, f"--ckpt_path={path}", subcommand="validate")
    measured = checkpoint_of(folder)["kdna_zoo"]["metrics"]["error"]
    assert float(validated.trainer.callback_metrics["val/error"]) == measured
    loaded = BrightnessTask.load_from_checkpoint(path)
    for name, tensor in validated.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_fault_stops_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the loss is not finite since step"):
        run(tmp_path, "--model.optimizer.lr=1e38", "--ema.decay=0")
