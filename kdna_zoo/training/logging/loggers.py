"""The loggers of a run: one folder, one CSV file, and the same files again when a run goes on."""

import csv
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from kdna_zoo.atomic import replaced_file
from kdna_zoo.training.compat import KeepingWriter, WriterLogger

METRICS = "metrics.csv"


def make_loggers(folder: str, version: int | None = None, step: int | None = None) -> list[Logger]:
    """Make the CSV and TensorBoard loggers of one ``version_N`` folder.

    Args:
        folder: Where the run folders lie.
        version: The run to go on with; None: a new one.
        step: What was logged at this step or later is dropped: the run goes on from there.
    """
    metrics = MetricsLogger(folder, name="", version=version, flush_logs_every_n_steps=1)
    metrics.first_step = step
    curves = CurvesLogger(folder, name="", version=metrics.version, purge_step=step)
    return [metrics, curves]


class MetricsFile(KeepingWriter):
    """``metrics.csv``, and nothing beside it; rows that are there already are kept."""

    def __init__(self, log_dir: str, first_step: int | None) -> None:
        file = Path(log_dir, METRICS)
        kept = keep_rows(file, first_step) if first_step is not None else []
        super().__init__(log_dir)
        self.metrics_keys = kept

    def save(self) -> None:
        """Append the rows, and write no hyper-parameters: ``config.yaml`` has them."""
        super(ExperimentWriter, self).save()


class MetricsLogger(WriterLogger):
    """Lightning's CSV logger, which goes on with the file of the run that it resumes."""

    first_step: int | None = None

    def make_writer(self) -> MetricsFile:
        """Open the file."""
        return MetricsFile(self.log_dir, self.first_step)


class CurvesLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger, without the empty file of hyper-parameters."""

    @rank_zero_only
    def save(self) -> None:
        """Flush the events."""
        super(TensorBoardLogger, self).save()


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Let TensorBoard's thread say nothing of a file that it cannot write: the main one will."""
    before = threading.excepthook

    def hook(died: threading.ExceptHookArgs) -> None:
        of_tensorboard = type(died.thread).__module__.startswith("tensorboard.")
        if not (of_tensorboard and isinstance(died.exc_value, OSError)):
            before(died)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def keep_rows(file: Path, before: int) -> list[str]:
    """Drop the rows of a step and all later ones, and return the columns of the file."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        rows = [
            row for row in reader if (row["step"] or "").isdigit() and int(row["step"]) < before
        ]
        columns = list(reader.fieldnames or [])
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    with replaced_file(file) as fresh:
        fresh.write_text(text.getvalue(), encoding="utf-8", newline="")
    return columns


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Read a metrics file: the step as an int, and of each row the figures that it has."""
    with file.open(newline="", encoding="utf-8") as handle:
        return [
            {**{k: float(v) for k, v in row.items() if v}, "step": int(row["step"])}
            for row in csv.DictReader(handle)
        ]
