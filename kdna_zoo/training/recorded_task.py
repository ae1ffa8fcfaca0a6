"""A task whose checkpoints say what they are, so that they can be loaded, resumed and published."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import Self  # comes with torch

from kdna_zoo.records.checkpoints import open_checkpoint
from kdna_zoo.training.callbacks.averaging import take_live_weights
from kdna_zoo.training.checks import check_checkpoint, check_label_names
from kdna_zoo.training.logging.record import make_record, time_spent
from kdna_zoo.training.network import recorded_as
from kdna_zoo.training.optim import OptimizerConfig, ScheduleConfig, TimmOptimization
from kdna_zoo.training.resume.checkpointing import check_finite

MADE_WITH = ("arch", "arch_args", "num_classes")  # of a record: what builds the network again


class RecordedTask(TimmOptimization):
    """A LightningModule that writes a record into its checkpoints, and reads it.

    Args:
        optimizer: See `OptimizerConfig`.
        schedule: See `ScheduleConfig`.

    Attributes:
        run_info: What the command line adds to the run's record.
        measured: At which step was validated, and what it gave.
    """

    num_classes: int
    base_model: str | None

    def __init__(self, optimizer: OptimizerConfig, schedule: ScheduleConfig) -> None:
        super().__init__(optimizer, schedule)
        self.run_info: dict[str, Any] = {}
        self.measured: tuple[int, dict[str, float]] | None = None
        self.started = self.resumed = time.time()
        self.seconds_before = 0.0  # what a resumed run took until its checkpoint

    @property
    def arch(self) -> str:
        """The network's name, see `recorded_as`."""
        return recorded_as(self.model)[0]

    @property
    def arch_args(self) -> dict[str, Any]:
        """The arguments that go with the name."""
        return recorded_as(self.model)[1]

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
        made_with = {name: record[name] for name in MADE_WITH if name in record}
        loaded: Self = super().load_from_checkpoint(
            checkpoint_path, *args, **{**made_with, **kwargs, "weights_only": True}
        )
        return loaded

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the run's record into the checkpoint, as plain JSON types, if it is a good one."""
        check_finite(checkpoint, self.trainer)
        checkpoint["kdna_zoo"] = make_record(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the checkpoint of another network before any weight is touched."""
        check_checkpoint(checkpoint, self, self.arch)
        if self._trainer is None:
            return  # loaded without one
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.started, self.seconds_before = time_spent(checkpoint)
            take_live_weights(self.trainer, checkpoint)
        else:
            learnt = (checkpoint.get("kdna_zoo") or {}).get("label_names")
            data = getattr(self.trainer, "datamodule", None)
            check_label_names(learnt, getattr(data, "label_names", None), "the checkpoint")
        # A schedule is a function of the step: nothing of it is restored over this run's options.
        checkpoint["lr_schedulers"] = [{} for _ in checkpoint.get("lr_schedulers", ())]
