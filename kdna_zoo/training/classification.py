"""Image classification: loss, steps, metrics and optimizer wiring around a timm network."""

import math
import time
from typing import Any

import lightning.pytorch as pl
import torch
from timm.loss import LabelSmoothingCrossEntropy
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy

from kdna_zoo.errors import RunError, UserError
from kdna_zoo.training.network import create_network
from kdna_zoo.training.optim import (
    OptimizerConfig,
    ScheduleConfig,
    build_optimizer,
    build_schedule,
)
from kdna_zoo.training.record import make_record


class ImageClassifier(pl.LightningModule):
    """Train and evaluate any network that timm knows.

    Args:
        arch: Name for ``timm.create_model``: a registered one, ``hf-hub:...`` or ``local-dir:...``.
        num_classes: Classes of the head.
        arch_args: Further arguments of ``timm.create_model``, such as ``drop_path_rate``.
        pretrained: Start from published weights.
        label_smoothing: Share of the target spread over all classes; 0 is plain cross-entropy.
        channels_last: Keep weights and images in channels_last memory format.
        optimizer: See `OptimizerConfig`.
        schedule: See `ScheduleConfig`.

    Raises:
        UserError: If timm does not know the network (the nearest names are given).
    """

    def __init__(
        self,
        arch: str = "kdna_resnet18",
        num_classes: int = 10,
        arch_args: dict[str, Any] | None = None,
        pretrained: bool = False,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
        optimizer: OptimizerConfig | None = None,
        schedule: ScheduleConfig | None = None,
    ) -> None:
        super().__init__()
        network: Any = create_network(arch, pretrained, num_classes, dict(arch_args or {}))
        self.model: nn.Module = network
        self.arch: str = network.pretrained_cfg["architecture"]
        # What timm recorded, which for a published network includes the arguments in its config.
        recorded = network._model_args.items()
        self.arch_args = {k: v for k, v in recorded if k != "num_classes"}
        self.num_classes = num_classes
        self.channels_last = channels_last
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.optimizer_config = optimizer or OptimizerConfig()
        self.schedule_config = schedule or ScheduleConfig()
        self.loss = LabelSmoothingCrossEntropy(label_smoothing)  # type: ignore[no-untyped-call]
        self.val_metrics = _make_metrics(num_classes).clone(prefix="val/")
        self.test_metrics = _make_metrics(num_classes).clone(prefix="test/")
        self.run_info: dict[str, Any] = {}  # what the command line adds to the run's record
        self.measured: tuple[int, dict[str, float]] | None = None  # at which step, and what
        self.started = time.time()
        self.updates_per_epoch = 0

    def forward(self, images: Tensor) -> Tensor:
        """Return logits: (N, 3, H, W) -> (N, classes)."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.model(images)  # type: ignore[no-any-return]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch, or stop the run if it is not finite."""
        images, labels = batch
        loss: Tensor = self.loss(self(images), labels)
        value = loss.item()
        if not math.isfinite(value):
            raise RunError(
                f"the loss became {value} at step {self.global_step} (epoch {self.current_epoch}, "
                f"batch {batch_idx}); the weights were not updated with it, and the checkpoints "
                "of earlier epochs are as they were. A lower --model.optimizer.lr or a longer "
                "--model.schedule.warmup_epochs often helps"
            )
        self.log(
            "train/loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=len(labels)
        )
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count a batch into the validation metrics."""
        self._evaluate(batch, self.val_metrics)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count a batch into the test metrics."""
        self._evaluate(batch, self.test_metrics)

    def predict_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> dict[str, Any]:
        """Return each image's index, label and class probabilities (N, classes)."""
        images, labels, indices = batch
        return {"index": indices, "label": labels, "probability": self(images).softmax(dim=1)}

    def _evaluate(self, batch: tuple[Tensor, Tensor], metrics: MetricCollection) -> None:
        images, labels = batch
        logits = self(images).float()
        metrics["top1"].update(logits, labels)
        if "top5" in metrics:
            metrics["top5"].update(logits, labels)
        losses = nn.functional.cross_entropy(logits, labels, reduction="none")
        metrics["loss"].update(losses)
        metrics["images"].update(len(labels))
        for name, metric in metrics.items():
            shown = name.endswith(("loss", "top1"))
            self.log(name, metric, on_step=False, on_epoch=True, prog_bar=shown)

    def on_fit_start(self) -> None:
        """Start the clock."""
        self.started = time.time()

    def on_validation_epoch_end(self) -> None:
        """Keep the measurement for the checkpoint of this very step."""
        values = {k: float(v) for k, v in self.val_metrics.compute().items()}
        self.measured = (self.global_step, values)

    def configure_optimizers(self) -> Any:
        """Return timm's optimizer, with its schedule stepped after every update."""
        optimizer = build_optimizer(self.model, self.optimizer_config)
        updates = self.updates_per_epoch = self._count_updates()
        epochs = self.trainer.max_epochs or -1
        if epochs < 1:
            if self.trainer.max_steps < 1:
                raise UserError("set trainer.max_epochs or trainer.max_steps: the schedule ends")
            epochs = math.ceil(self.trainer.max_steps / updates)
        scheduler = build_schedule(optimizer, self.schedule_config, epochs, updates)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step timm's schedule, which counts updates itself."""
        scheduler.step_update(num_updates=self.global_step)

    def _count_updates(self) -> int:
        """Count optimizer steps without ``estimated_stepping_batches``, which builds the loader."""
        trainer = self.trainer
        batches = getattr(trainer.datamodule, "train_batches", None)  # type: ignore[attr-defined]
        if batches is None:
            return max(
                int(trainer.estimated_stepping_batches) // max(trainer.max_epochs or 1, 1), 1
            )
        return max(math.ceil(int(batches) / trainer.accumulate_grad_batches), 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the run's record into the checkpoint, as plain JSON types."""
        checkpoint["kdna_zoo"] = make_record(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the checkpoint of another network before any weight is touched."""
        record = checkpoint.get("kdna_zoo")
        if record is None:
            return
        for key, mine in (("arch", self.arch), ("num_classes", self.num_classes)):
            if record[key] != mine:
                raise UserError(
                    f"the checkpoint is of another network: its {key} is {record[key]!r}, this "
                    f"run's is {mine!r}; use --model.arch {record['arch']} and data of "
                    f"{record['num_classes']} classes"
                )


def _make_metrics(num_classes: int) -> MetricCollection:
    metrics: dict[str, Metric | MetricCollection] = {
        "loss": MeanMetric(),
        "top1": MulticlassAccuracy(num_classes, top_k=1, average="micro"),
        "images": SumMetric(),
    }
    if num_classes > 5:
        metrics["top5"] = MulticlassAccuracy(num_classes, top_k=5, average="micro")
    return MetricCollection(metrics, compute_groups=False)
