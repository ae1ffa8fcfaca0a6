"""The progress of a run: a bar on a terminal, lines in a file or a job's log."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar
from rich.console import Console

from kdna_zoo.training.callbacks.pace import Pace
from kdna_zoo.training.callbacks.progress_lines import ProgressLines


def make_progress() -> ProgressBar:
    """Return a bar for a terminal or a notebook, and lines for any other output."""
    console = Console()
    terminal = console.is_interactive and console.file.isatty()  # colours may be forced on a file
    return RunProgress() if terminal or console.is_jupyter else ProgressLines()


class RunProgress(RichProgressBar):
    """Lightning's bar of an epoch, which also says images a second and what is left of the run."""

    _pace: Pace | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._pace = Pace.of_training(trainer)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return what stands beside the bar."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return {**shown, **(self._pace.rates(trainer.global_step) if self._pace else {})}
