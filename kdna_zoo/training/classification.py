"""Image classification: loss, steps, metrics and optimizer wiring around a timm network."""

import math
import time
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import MetricCollection

from kdna_zoo.errors import RunError
from kdna_zoo.names import stands_for_weights
from kdna_zoo.training.callbacks.nonfinite import HOW_TO_GO_ON
from kdna_zoo.training.checks import check_evaluation
from kdna_zoo.training.metrics import make_metrics, update_metrics
from kdna_zoo.training.network import compile_network, create_network, published_as
from kdna_zoo.training.objective import DistillationConfig, LossConfig, MixConfig, Objective
from kdna_zoo.training.optim import OptimizerConfig, ScheduleConfig
from kdna_zoo.training.recorded_task import RecordedTask

DEFAULT_OPTIMIZER = OptimizerConfig()
DEFAULT_SCHEDULE = ScheduleConfig()
DEFAULT_LOSS = LossConfig()
NO_MIX = MixConfig()
NO_TEACHER = DistillationConfig()


class ImageClassifier(RecordedTask):
    """Train and evaluate any network that timm knows.

    Args:
        arch: Name for ``timm.create_model``: a registered one, ``hf-hub:...`` or ``local-dir:...``.
        num_classes: Classes of the head.
        arch_args: Further arguments of ``timm.create_model``, such as ``drop_path_rate``.
        in_chans: Channels of an image, 1 if grey; None: as `arch_args` say, or the network's own.
        pretrained: Start from published weights.
        reset_head: Without `pretrained`: start with a classifier as torch initialises a linear
            layer. timm's EfficientNets and MobileNets give one of few classes weights so large
            (uniform up to 1 / sqrt(classes)) that unlearning them takes hundreds of steps.
        label_smoothing: Share of the target spread over all classes; 0 is plain cross-entropy.
        loss: See `LossConfig`.
        mix: Mixup and cutmix, see `MixConfig`.
        distillation: See `DistillationConfig`.
        channels_last: Keep weights and images in channels_last memory format.
        compile: Compile the network by ``torch.compile``; the name of a backend, or true for
            torch's own.
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
        in_chans: int | None = None,
        pretrained: bool = False,
        reset_head: bool = False,
        label_smoothing: float = 0.0,
        loss: LossConfig = DEFAULT_LOSS,
        mix: MixConfig = NO_MIX,
        distillation: DistillationConfig = NO_TEACHER,
        channels_last: bool = False,
        compile: bool | str = False,
        optimizer: OptimizerConfig = DEFAULT_OPTIMIZER,
        schedule: ScheduleConfig = DEFAULT_SCHEDULE,
    ) -> None:
        super().__init__(optimizer, schedule)
        self.objective = Objective(num_classes, label_smoothing, loss, mix, distillation)
        self.pretrained = pretrained = pretrained or stands_for_weights(arch)
        grey = {"in_chans": 1} if in_chans == 1 else {}
        network: Any = create_network(
            arch, pretrained, num_classes, {**grey, **(arch_args or {})}, reset_head
        )
        self.model: nn.Module = network
        self.base_model = published_as(network) if pretrained else None
        self.num_classes = num_classes
        self.channels_last = channels_last
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        if compile:
            compile_network(self.model, compile)
        self.val_metrics = make_metrics(num_classes).clone(prefix="val/")
        self.test_metrics = make_metrics(num_classes).clone(prefix="test/")

    def on_validation_start(self) -> None:
        """See `check_evaluation`; a validation within a run evaluates what the run trains."""
        if self.trainer.state.fn != TrainerFn.FITTING:
            check_evaluation(self)

    def on_test_start(self) -> None:
        """See `check_evaluation`."""
        check_evaluation(self)

    def on_predict_start(self) -> None:
        """See `check_evaluation`."""
        check_evaluation(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits: (N, 3, H, W) -> (N, classes)."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.model(images)  # type: ignore[no-any-return]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        images, targets = self.objective.mix(*batch)
        loss = self.objective(self(images), targets, images)
        shown = {"on_step": True, "on_epoch": True, "prog_bar": True, "sync_dist": True}
        self.log("train/loss", loss, batch_size=len(images), **shown)  # type: ignore[arg-type]
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
        probability = self(images).float().softmax(dim=1)
        return {"index": indices, "label": labels, "probability": probability}

    def _evaluate(self, batch: tuple[Tensor, Tensor], metrics: MetricCollection) -> None:
        images, labels = batch
        logits = self(images).float()
        update_metrics(metrics, logits, labels)
        for name, metric in metrics.items():
            shown = name.endswith(("loss", "top1"))
            self.log(name, metric, on_step=False, on_epoch=True, prog_bar=shown)

    def on_fit_start(self) -> None:
        """Load the teacher, if there is one, and start the clock, or let it go on."""
        data = getattr(self.trainer, "datamodule", None)
        self.objective.load_teacher(data, self.num_classes, self.device)
        self.resumed = time.time()
        self.started = self.started if self.seconds_before else self.resumed

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
