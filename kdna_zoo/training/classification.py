"""Image classification: loss, steps and metrics around a timm network."""

from typing import Any

from torch import Tensor
from torchmetrics import MetricCollection

from kdna_zoo.names import stands_for_weights
from kdna_zoo.training.base_task import BaseTask
from kdna_zoo.training.checks import check_head
from kdna_zoo.training.metrics import make_metrics, update_metrics
from kdna_zoo.training.network import create_network
from kdna_zoo.training.objective import DistillationConfig, LossConfig, MixConfig, Objective
from kdna_zoo.training.optim import OptimizerConfig, ScheduleConfig

DEFAULT_OPTIMIZER = OptimizerConfig()
DEFAULT_SCHEDULE = ScheduleConfig()
DEFAULT_LOSS = LossConfig()
NO_MIX = MixConfig()
NO_TEACHER = DistillationConfig()


class ImageClassifier(BaseTask):
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

    main_metric = "top1"
    made_with = (*BaseTask.made_with, "num_classes")

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
        self.num_classes = num_classes
        self.pretrained = pretrained or stands_for_weights(arch)
        grey = {"in_chans": 1} if in_chans == 1 else {}
        arguments = {**grey, **(arch_args or {})}
        self._network_options = (arch, self.pretrained, num_classes, arguments, reset_head)
        self._loss_options = (num_classes, label_smoothing, loss, mix, distillation)
        super().__init__(optimizer, schedule, channels_last, compile)

    def configure_models(self) -> None:
        """Create the network."""
        self.model = create_network(*self._network_options)

    def configure_losses(self) -> None:
        """Make the objective; a teacher is loaded when the training begins."""
        self.objective = Objective(*self._loss_options)

    def configure_metrics(self) -> None:
        """Make loss and accuracies."""
        metrics = make_metrics(self.num_classes)
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")

    def check_published(self) -> None:
        """Check that a published network is evaluated on its own classes."""
        data = getattr(self.trainer, "datamodule", None)
        check_head(self.model, self.num_classes, getattr(data, "label_names", None))

    def on_fit_start(self) -> None:
        """Load the teacher, if there is one."""
        data = getattr(self.trainer, "datamodule", None)
        self.objective.load_teacher(data, self.num_classes, self.device)

    def compute_losses(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a batch, whose images may be mixed."""
        images, targets = self.objective.mix(*batch)
        return {"loss": self.objective(self(images), targets, images)}

    def update_metrics(self, metrics: MetricCollection, batch: tuple[Tensor, Tensor]) -> None:
        """Count a batch in."""
        images, labels = batch
        update_metrics(metrics, self(images).float(), labels)

    def predict_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> dict[str, Any]:
        """Return each image's index, label and class probabilities (N, classes)."""
        images, labels, indices = batch
        probability = self(images).float().softmax(dim=1)  # (N, classes)
        return {"index": indices, "label": labels, "probability": probability}
