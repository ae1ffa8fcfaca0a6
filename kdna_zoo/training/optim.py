"""Optimizer and learning-rate schedule, by timm's factories.

The field names are timm's own, so that a recipe reads like timm's training script.
"""

from dataclasses import dataclass, field
from typing import Any

from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer


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
        sched: ``cosine``, ``step``, ``multistep``, ``poly``, ``tanh``, ``constant``, ...
        warmup_epochs: Length of the linear warm-up, in epochs; may be a fraction.
        warmup_lr: Rate at the first step of the warm-up.
        min_lr: Rate at the end of the schedule.
        decay_epochs: Epochs between two decays (``step``).
        decay_milestones: Epochs of the decays (``multistep``).
        decay_rate: Factor of each decay (``step``, ``multistep``).
        cooldown_epochs: Epochs at ``min_lr`` after the schedule, out of ``trainer.max_epochs``.
    """

    sched: str = "cosine"
    warmup_epochs: float = 0.0
    warmup_lr: float = 1e-5
    min_lr: float = 0.0
    decay_epochs: float = 90.0
    decay_milestones: tuple[int, ...] = (90, 180, 270)
    decay_rate: float = 0.1
    cooldown_epochs: int = 0


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Return timm's optimizer for the network."""
    optimizer: Optimizer = create_optimizer_v2(
        model,
        opt=config.opt,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        layer_decay=config.layer_decay,
        **config.opt_args,
    )
    return optimizer


def build_schedule(
    optimizer: Optimizer, config: ScheduleConfig, epochs: int, updates_per_epoch: int
) -> Scheduler:
    """Return timm's schedule over ``epochs``, counted in optimizer steps."""
    scheduler: Scheduler
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=config.sched,
        num_epochs=epochs - config.cooldown_epochs,
        warmup_epochs=config.warmup_epochs,  # type: ignore[arg-type]  # fractions work
        warmup_lr=config.warmup_lr,
        min_lr=config.min_lr,
        decay_epochs=config.decay_epochs,
        decay_milestones=list(config.decay_milestones),
        decay_rate=config.decay_rate,
        cooldown_epochs=config.cooldown_epochs,
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
    )
    return scheduler
