"""What all tasks have in common: their parts, training and evaluation.

A task says what is its own in hooks, as those of torchgeo do: `configure_models`,
`configure_losses` and `configure_metrics` make its parts, `compute_losses` and `update_metrics`
take a batch. What a run is at (its clock, its last validation) is a callback's, `RunState`.
"""

from abc import ABC, abstractmethod
from functools import reduce
from operator import add
from typing import Any, ClassVar

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import MetricCollection

from kdna_zoo.training.checks import check_evaluation
from kdna_zoo.training.network import compile_network, published_as
from kdna_zoo.training.optim import OptimizerConfig, ScheduleConfig
from kdna_zoo.training.recorded_task import RecordedTask


class BaseTask(RecordedTask, ABC):
    """A task that is trained, evaluated, resumed and published like all others.

    A subclass keeps its options as attributes before it calls this ``__init__``, which asks the
    hooks for the parts.

    Args:
        optimizer: See `OptimizerConfig`.
        schedule: See `ScheduleConfig`.
        channels_last: Keep weights and images in channels_last memory format.
        compile: Compile the network by ``torch.compile``; the name of a backend, or true for
            torch's own.

    Attributes:
        model: What is trained.
        val_metrics: What is measured on the validation split; names begin with ``val/``.
        test_metrics: The same on the test split; names begin with ``test/``.
        main_metric: The metric that says which validation was the best, without its prefix.
        higher_is_better: Whether more of it is better.
    """

    main_metric: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    val_metrics: MetricCollection
    test_metrics: MetricCollection

    def __init__(
        self,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        channels_last: bool = False,
        compile: bool | str = False,
    ) -> None:
        super().__init__(optimizer, schedule)
        self.channels_last = channels_last
        self.configure_models()
        self.base_model = published_as(self.network) if self.pretrained else None
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        if compile:
            compile_network(self.model, compile)
        self.configure_losses()
        self.configure_metrics()

    @abstractmethod
    def configure_models(self) -> None:
        """Set `model`."""

    @abstractmethod
    def configure_losses(self) -> None:
        """Make what `compute_losses` needs."""

    @abstractmethod
    def configure_metrics(self) -> None:
        """Set `val_metrics` and `test_metrics`."""

    @abstractmethod
    def compute_losses(self, batch: Any) -> dict[str, Tensor]:
        """Return the parts of a training batch's loss, by name; their sum is minimised."""

    @abstractmethod
    def update_metrics(self, metrics: MetricCollection, batch: Any) -> None:
        """Count a batch into the metrics of its split."""

    def check_published(self) -> None:
        """Check that published weights can be evaluated on these data without training."""

    def forward(self, images: Tensor) -> Any:
        """Return what the network makes of images (N, C, H, W)."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.model(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch, and log it, with its parts where there are several."""
        losses = self.compute_losses(batch)
        loss = reduce(add, losses.values())
        if len(losses) > 1:
            parts = {f"train/{name}": part.detach() for name, part in losses.items()}
            self.log_dict(parts, batch_size=len(batch[0]), on_step=True, on_epoch=False)
        shown = {"on_step": True, "on_epoch": True, "prog_bar": True, "sync_dist": True}
        self.log("train/loss", loss, batch_size=len(batch[0]), **shown)  # type: ignore[arg-type]
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch into the validation metrics."""
        self.update_metrics(self.val_metrics, batch)
        self.log_metrics(self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch into the test metrics."""
        self.update_metrics(self.test_metrics, batch)
        self.log_metrics(self.test_metrics)

    def log_metrics(self, metrics: MetricCollection) -> None:
        """Log the metrics of a split, once it was seen as a whole."""
        for name, metric in metrics.items():
            shown = name.endswith(("loss", self.main_metric))
            self.log(name, metric, on_step=False, on_epoch=True, prog_bar=shown)

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
