"""Image classification: loss, steps, metrics and optimizer wiring around a timm network."""

import math
import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from timm.loss import LabelSmoothingCrossEntropy
from torch import Tensor, nn
from torchmetrics import MetricCollection

from kdna_zoo.errors import RunError, UserError
from kdna_zoo.training.checks import check_checkpoint, check_head, warn_of_random_weights
from kdna_zoo.training.metrics import make_metrics
from kdna_zoo.training.network import create_network
from kdna_zoo.training.optim import (
    OptimizerConfig,
    ScheduleConfig,
    build_optimizer,
    build_schedule,
)
from kdna_zoo.training.record import make_record

HOW_TO_GO_ON = (
    "the checkpoints of earlier epochs are as they were. A lower --model.optimizer.lr or a longer "
    "--model.schedule.warmup_epochs often helps"
)
DEFAULT_OPTIMIZER = OptimizerConfig()
DEFAULT_SCHEDULE = ScheduleConfig()


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
        optimizer: OptimizerConfig = DEFAULT_OPTIMIZER,
        schedule: ScheduleConfig = DEFAULT_SCHEDULE,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UserError(
                f"label_smoothing must be at least 0 and below 1, got {label_smoothing}"
            )
        self.pretrained = pretrained
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
        self.optimizer_config = optimizer
        self.schedule_config = schedule
        self._chosen_groups: list[dict[str, Any]] = []  # the optimizer's options, as asked for
        self.loss = LabelSmoothingCrossEntropy(label_smoothing)  # type: ignore[no-untyped-call]
        self.val_metrics = make_metrics(num_classes).clone(prefix="val/")
        self.test_metrics = make_metrics(num_classes).clone(prefix="test/")
        self.run_info: dict[str, Any] = {}  # what the command line adds to the run's record
        self.measured: tuple[int, dict[str, float]] | None = None  # at which step, and what
        self.started = time.time()
        self.updates_per_epoch = 0

    def setup(self, stage: str) -> None:
        """Check that what is evaluated without training are real weights on their own classes."""
        if stage == "fit" or self.trainer.ckpt_path is not None:
            return
        if self.pretrained:
            data = getattr(self.trainer, "datamodule", None)
            check_head(self.model, self.num_classes, getattr(data, "label_names", None))
        else:
            warn_of_random_weights()

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
                f"batch {batch_idx}); {HOW_TO_GO_ON}"
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
        """Keep the measurement for the checkpoint of this very step, or stop if it is not finite.

        Only here does an update show that broke the weights in an epoch's last step; stopping now
        keeps it out of the checkpoints.
        """
        values = {k: float(v) for k, v in self.val_metrics.compute().items()}
        if self.trainer.state.fn == TrainerFn.FITTING and not math.isfinite(values["val/loss"]):
            raise RunError(
                f"the validation loss became {values['val/loss']} after step {self.global_step} "
                f"(epoch {self.current_epoch}); {HOW_TO_GO_ON}"
            )
        self.measured = (self.global_step, values)

    def configure_optimizers(self) -> Any:
        """Return timm's optimizer, with its schedule stepped after every update."""
        optimizer = build_optimizer(self.model, self.optimizer_config)
        per_epoch = self.updates_per_epoch = self._count_updates()
        limits = (self.trainer.max_epochs or -1) * per_epoch, self.trainer.max_steps
        updates = min((limit for limit in limits if limit > 0), default=0)
        if not updates:
            raise UserError(
                "set trainer.max_epochs or trainer.max_steps: the schedule needs an end"
            )
        scheduler = build_schedule(optimizer, self.schedule_config, updates, per_epoch)
        self._chosen_groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in optimizer.param_groups
        ]
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_train_start(self) -> None:
        """Let a resumed run go on with the options of this command, not of its checkpoint."""
        optimizers, schedulers = self.trainer.optimizers, self.trainer.lr_scheduler_configs
        for group, chosen in zip(optimizers[0].param_groups, self._chosen_groups, strict=True):
            group.update(chosen)
        self.lr_scheduler_step(schedulers[0].scheduler, None)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step timm's schedule, which counts updates itself."""
        scheduler.step_update(num_updates=self.global_step)

    def _count_updates(self) -> int:
        """Count optimizer steps an epoch; ``estimated_stepping_batches`` would build the loader."""
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
        check_checkpoint(checkpoint, self, self.arch)
        # A schedule is a function of the step: nothing of it is restored over this run's options.
        checkpoint["lr_schedulers"] = [{} for _ in checkpoint.get("lr_schedulers", ())]
