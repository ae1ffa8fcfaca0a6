"""A task whose checkpoints say what they are, so that they can be loaded, resumed and published."""

from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from typing_extensions import Self  # comes with torch

from kdna_zoo.records.checkpoints import open_checkpoint
from kdna_zoo.training.callbacks.averaging import take_live_weights
from kdna_zoo.training.callbacks.run_state import RunState
from kdna_zoo.training.checks import check_checkpoint, check_label_names
from kdna_zoo.training.logging.record import make_record
from kdna_zoo.training.network import recorded_as
from kdna_zoo.training.optim import TimmOptimization
from kdna_zoo.training.resume.checkpointing import check_finite


class RecordedTask(TimmOptimization):
    """A LightningModule that writes a record into its checkpoints, and reads it.

    Attributes:
        pretrained: Whether the network starts from published weights.
        base_model: The repository on the Hub that those weights belong to, if to any.
        num_classes: Classes that are told apart; 0: the task has none.
        made_with: Entries of the record that are arguments of the task too.
    """

    pretrained: bool = False
    base_model: str | None = None
    num_classes: int = 0
    made_with: ClassVar[tuple[str, ...]] = ("arch", "arch_args")

    @property
    def network(self) -> nn.Module:
        """The timm network that the record names; a part of `model` where that is more."""
        return self.model

    @property
    def arch(self) -> str:
        """The network's name, see `recorded_as`."""
        return recorded_as(self.network)[0]

    @property
    def arch_args(self) -> dict[str, Any]:
        """The arguments that go with the name."""
        return recorded_as(self.network)[1]

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Load a task with the weights that validation measured: the average, if there is one.

        Args:
            checkpoint_path: A .ckpt file; its record tells the network and the classes.
            *args: As Lightning has them.
            **kwargs: As Lightning has them; arguments of the task among them win over the record.

        Raises:
            UserError: If the file cannot be used.
        """
        record = open_checkpoint(Path(checkpoint_path)).get("kdna_zoo") or {}
        made_with = {name: record[name] for name in cls.made_with if name in record}
        loaded: Self = super().load_from_checkpoint(
            checkpoint_path, *args, **{**made_with, **kwargs, "weights_only": True}
        )
        return loaded

    def configure_callbacks(self) -> list[pl.Callback]:
        """Give the trainer what keeps the state of its run, unless it has it."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        return [] if any(isinstance(call, RunState) for call in callbacks) else [RunState()]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the run's record into the checkpoint, as plain JSON types, if it is a good one."""
        check_finite(checkpoint, self.trainer)
        checkpoint["kdna_zoo"] = make_record(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the checkpoint of another network before any weight is touched."""
        check_checkpoint(checkpoint, self, self.arch)
        trainer = trainer_of(self)
        if trainer is None:
            return  # loaded without one
        if trainer.state.fn == TrainerFn.FITTING:
            take_live_weights(trainer, checkpoint)
        else:
            learnt = (checkpoint.get("kdna_zoo") or {}).get("label_names")
            data = getattr(trainer, "datamodule", None)
            check_label_names(learnt, getattr(data, "label_names", None), "the checkpoint")
        # A schedule is a function of the step: nothing of it is restored over this run's options.
        checkpoint["lr_schedulers"] = [{} for _ in checkpoint.get("lr_schedulers", ())]


def trainer_of(module: pl.LightningModule) -> pl.Trainer | None:
    """Return the trainer that a module is attached to, if it is."""
    try:
        return module.trainer
    except RuntimeError:  # as Lightning says that it is not
        return None
