"""One line about the network that a run trains, in place of Lightning's table of modules.

That table has a column of FLOPs, which are zero for what does not measure them.
"""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info


class NetworkLine(Callback):
    """Say at the start of a run which network it trains, and how many parameters that has."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Say it, on the first rank."""
        sizes = [(p.numel(), p.requires_grad) for p in pl_module.model.parameters()]
        every, trained = sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)
        frozen = f", {trained:,} of them trained" if trained < every else ""
        start = "published weights" if pl_module.pretrained else "random weights"
        if trainer.ckpt_path is not None:
            start = str(trainer.ckpt_path)
        rank_zero_info(f"network {pl_module.arch}: {every:,} parameters{frozen}; from {start}")
