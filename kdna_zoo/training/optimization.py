"""timm's optimizers and schedules in a LightningModule: made, stepped at each update, resumed."""

from typing import Any

import lightning.pytorch as pl
from timm.scheduler.scheduler import Scheduler
from torch import nn

from kdna_zoo.training.optim import (
    OptimizerConfig,
    ScheduleConfig,
    build_optimizer,
    build_schedule,
)
from kdna_zoo.training.updates import count_updates


class TimmOptimization(pl.LightningModule):
    """A LightningModule whose `model` is optimized by timm's means.

    Args:
        optimizer: See `OptimizerConfig`.
        schedule: See `ScheduleConfig`.
    """

    model: nn.Module

    def __init__(self, optimizer: OptimizerConfig, schedule: ScheduleConfig) -> None:
        super().__init__()
        self.optimizer_config = optimizer
        self.schedule_config = schedule
        self.updates_per_epoch = self.planned_updates = 0
        self._chosen_groups: list[dict[str, Any]] = []  # the optimizer's options, as asked for

    def configure_optimizers(self) -> Any:
        """Return timm's optimizer, with its schedule stepped after every update."""
        optimizer = build_optimizer(self.model, self.optimizer_config)
        self.planned_updates, self.updates_per_epoch = count_updates(self.trainer)
        counts = self.planned_updates, self.updates_per_epoch
        scheduler = build_schedule(optimizer, self.schedule_config, *counts)
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
        if not isinstance(schedulers[0].scheduler, Scheduler):
            return  # Lightning's search for a learning rate, which brings its own
        for group, chosen in zip(optimizers[0].param_groups, self._chosen_groups, strict=True):
            group.update(chosen)
        self.lr_scheduler_step(schedulers[0].scheduler, None)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step timm's schedule, which is told the update, or one of torch."""
        if isinstance(scheduler, Scheduler):
            scheduler.step_update(num_updates=self.global_step)
        else:
            super().lr_scheduler_step(scheduler, metric)
