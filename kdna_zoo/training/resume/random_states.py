"""The random states of all ranks in a checkpoint, so that a resumed run draws as if never stopped.

They are those of dropout, drop path and mixup. The images' order and augmentation have seeds of
their own (see `kdna_zoo.data.sampler`).
"""

from typing import Any

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn

from kdna_zoo.data.randomness import random_state, set_random_state


class RandomStates(Callback):
    """Keep and put back the random states of Python, NumPy and torch, of each rank its own."""

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """Gather the states of all ranks: a checkpoint is made by all of them together."""
        own = random_state()
        states = [own]
        if dist.is_available() and dist.is_initialized():
            states = [own] * dist.get_world_size()
            dist.all_gather_object(states, own)
        return {"ranks": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the states until the training begins."""
        self._found = state_dict["ranks"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put back this rank's states, after all that draws while a run is set up."""
        if len(self._found) == trainer.world_size:
            set_random_state(self._found[trainer.global_rank])
        elif self._found:
            rank_zero_warn(
                f"the checkpoint has the random states of {len(self._found)} processes and this "
                f"run {trainer.world_size}, so dropout and mixup draw new numbers"
            )
        self._found = []
