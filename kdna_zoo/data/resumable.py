"""A data module that goes on in the middle of an epoch where an interrupted run stood."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import lightning.pytorch as pl

from kdna_zoo.data.sampler import Position, ResumeState


class ResumableData(pl.LightningDataModule, ABC):
    """Keep a run's seed and its position in the data in its checkpoints.

    A subclass has `train_batches` and says by `batches_depend_on` what the batches follow from.

    Attributes:
        flat_options: Options that may be given without the name of their group, which it gives.
    """

    flat_options: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._resume_state = ResumeState()

    @property
    @abstractmethod
    def train_batches(self) -> int:
        """Batches of one epoch on one device."""

    @abstractmethod
    def batches_depend_on(self) -> dict[str, int | str | None]:
        """Return what the batches of an epoch depend on: it may not change within one."""

    @property
    def seed(self) -> int:
        """What the order and the augmentation follow from; a resumed run keeps its own."""
        return self._resume_state.seed

    def start(self) -> Position:
        """Return where to begin to train.

        Raises:
            UserError: If that is in the middle of an epoch, whose batches were others.
        """
        return self._resume_state.start(self.trainer, self.batches_depend_on())

    def state_dict(self) -> dict[str, Any]:
        """Keep where the run stands in its data."""
        return self._resume_state.state(self.trainer, self.train_batches, self.batches_depend_on())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._resume_state.load(state_dict)
