"""timm's optimizers and schedules in a LightningModule: made, stepped at each update, resumed."""

import math
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BatchSizeFinder, GradientAccumulationScheduler
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from kdna_zoo.errors import UserError, did_you_mean
from kdna_zoo.training.callbacks.stopping import max_updates


def count_updates(trainer: pl.Trainer) -> tuple[int, int]:
    """Return the optimizer steps of the whole run and those of an epoch.

    Raises:
        UserError: If the run has no end, or a callback would change what was counted.
    """
    _check_that_steps_stay(trainer)
    per_epoch = _count_an_epochs(trainer)
    limits = (trainer.max_epochs or -1) * per_epoch, max_updates(trainer)
    updates = min((limit for limit in limits if limit > 0), default=0)
    if not updates:
        raise UserError("set trainer.max_epochs or trainer.max_steps: the schedule needs an end")
    return updates, per_epoch


def _check_that_steps_stay(trainer: pl.Trainer) -> None:
    """Refuse what changes the number of steps in an epoch after it was counted.

    The rate would end too early or too late, and the record would tell of other epochs.
    """
    changes = {
        GradientAccumulationScheduler: "the same for all epochs: trainer.accumulate_grad_batches",
        BatchSizeFinder: "the batch size that it finds: data.batch_size",
    }
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for kind, instead in changes.items():
            if isinstance(callback, kind):
                raise UserError(
                    f"{kind.__name__} changes how many steps an epoch has, which the schedule and "
                    f"the record of a run count on; leave it out and give {instead}"
                )


def _count_an_epochs(trainer: pl.Trainer) -> int:
    batches = getattr(trainer.datamodule, "train_batches", None)  # type: ignore[attr-defined]
    if batches is None:
        return max(int(trainer.estimated_stepping_batches) // max(trainer.max_epochs or 1, 1), 1)
    return max(math.ceil(int(batches) / trainer.accumulate_grad_batches), 1)


SCHEDULES = ("cosine", "linear", "tanh", "step", "multistep", "poly", "constant")


@dataclass(frozen=True)
class OptimizerConfig:
    """Arguments of ``timm.optim.create_optimizer_v2``.

    Attributes:
        opt: Any name of ``timm.optim.list_optimizers()``. timm's ``sgd`` uses Nesterov momentum,
            ``momentum`` is the plain one.
        lr: Peak learning rate for the effective batch of the recipe.
        weight_decay: Weight decay. Norms, biases and the static attentions are left out, as timm
            leaves out all one-dimensional parameters.
        momentum: Momentum of the optimizers that have one.
        layer_decay: Factor by which the rate falls from each layer to the one below; None for
            one rate throughout.
        opt_args: Any further argument of the optimizer, such as ``betas``.
    """

    opt: str = "sgd"
    lr: float = 0.1
    weight_decay: float = 1e-4
    momentum: float = 0.9
    layer_decay: float | None = None
    opt_args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScheduleConfig:
    """Arguments of ``timm.scheduler.create_scheduler_v2``; the rate changes with every step.

    Attributes:
        sched: ``cosine``, ``linear``, ``tanh``, ``step``, ``multistep``, ``poly`` or ``constant``.
        warmup_epochs: Length of the linear warm-up, in epochs; may be a fraction.
        warmup_steps: Length of the linear warm-up, in optimizer steps, in place of that in epochs.
        warmup_lr: Rate at the first step of the warm-up.
        min_lr: Rate at the end of the schedule.
        decay_epochs: Epochs between two decays (``step``).
        decay_milestones: Epochs of the decays (``multistep``).
        decay_rate: Factor of each decay (``step``, ``multistep``), or the power (``poly``).
        cooldown_epochs: Epochs at ``min_lr`` after the schedule, out of ``trainer.max_epochs``.
    """

    sched: str = "cosine"
    warmup_epochs: float = 0.0
    warmup_steps: int | None = None
    warmup_lr: float = 1e-5
    min_lr: float = 0.0
    decay_epochs: float = 90.0
    decay_milestones: tuple[int, ...] = (90, 180, 270)
    decay_rate: float = 0.1
    cooldown_epochs: int = 0


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Return timm's optimizer for the network.

    Raises:
        UserError: If timm has no such optimizer, or it does not take these arguments.
    """
    try:
        optimizer: Optimizer = create_optimizer_v2(
            model,
            opt=config.opt,
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            layer_decay=config.layer_decay,
            **config.opt_args,
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(_why_not_made(config, error)) from error
    return optimizer


def _why_not_made(config: OptimizerConfig, error: Exception) -> str:
    names = [str(name) for name in list_optimizers()]
    if config.opt.lower() not in names:
        hint = did_you_mean(config.opt, names, "timm.optim.list_optimizers() lists them all")
        return f"cannot make the optimizer {config.opt!r}: {error}; {hint}"
    return (
        f"the optimizer {config.opt!r} refuses its settings: {error}; see --model.optimizer.lr,"
        " momentum, weight_decay and opt_args"
    )


def build_schedule(
    optimizer: Optimizer, config: ScheduleConfig, updates: int, updates_per_epoch: int
) -> Scheduler:
    """Return timm's schedule, counted in optimizer steps.

    Args:
        optimizer: The optimizer whose rates it sets.
        config: The schedule.
        updates: Optimizer steps of the whole run.
        updates_per_epoch: Optimizer steps of an epoch, the unit of the configuration.

    Raises:
        UserError: If there is no such schedule, or nothing is left of it after the cool-down.
    """
    if config.sched not in SCHEDULES:
        raise UserError(f"unknown schedule {config.sched!r}; choose one of {', '.join(SCHEDULES)}")
    cooldown = config.cooldown_epochs * updates_per_epoch
    if cooldown >= updates:
        raise UserError(
            f"a cool-down of {config.cooldown_epochs} epochs leaves nothing of a run of "
            f"{updates / updates_per_epoch:g}; lower schedule.cooldown_epochs"
        )
    linear = config.sched == "linear"  # timm's polynomial of power 1
    warmup = config.warmup_steps
    scheduler: Scheduler
    scheduler, _ = create_scheduler_v2(  # with an "epoch" of one step
        optimizer,
        sched="poly" if linear else config.sched,
        num_epochs=updates - cooldown,
        warmup_epochs=round(config.warmup_epochs * updates_per_epoch) if warmup is None else warmup,
        warmup_lr=config.warmup_lr,
        min_lr=config.min_lr,
        decay_epochs=round(config.decay_epochs * updates_per_epoch),
        decay_milestones=[m * updates_per_epoch for m in config.decay_milestones],
        decay_rate=1.0 if linear else config.decay_rate,
        cooldown_epochs=cooldown,
        step_on_epochs=False,
        updates_per_epoch=1,
    )
    return scheduler


class TimmOptimization(pl.LightningModule):
    """A LightningModule whose `model` is optimized by timm's means.

    Args:
        optimizer: See `OptimizerConfig`.
        schedule: See `ScheduleConfig`.
    """

    model: nn.Module
    flops_per_batch: int | None = None  # not measured, and no warning of Lightning's about it

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
