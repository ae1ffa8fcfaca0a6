"""Callbacks that recipes use beside Lightning's own."""

import csv
import glob
import heapq
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BasePredictionWriter, ThroughputMonitor

from kdna_zoo.atomic import replaced_file

COLUMNS = ("index", "label", "predicted", "probability", "file")


class ImagesPerSecond(ThroughputMonitor):
    """Log images and batches a second, over a window of batches.

    Args:
        window_size: Batches that the rate is averaged over.
    """

    def __init__(self, window_size: int = 20) -> None:
        super().__init__(batch_size_fn=count_images, window_size=window_size)


def count_images(batch: Sequence[Any]) -> int:
    """Return how many images a batch ``(images, labels)`` holds."""
    return len(batch[0])


class PredictionWriter(BasePredictionWriter):
    """Write ``predictions.csv``: one row for each image, in the order of the split.

    The columns are the image's index in its split, its label (empty where there is none), the
    predicted class, that class's probability, and the image's file, or its id where the data set
    has one. Each process writes its rows as they come, into a
    file of its own in the same folder; the first puts them together at the end.

    Args:
        path: The file to write; ``predictions.csv`` in ``trainer.default_root_dir`` by default.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__(write_interval="batch")
        self.path = path
        self._part: Path | None = None  # this process's rows

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a new file."""
        self._file = self.file(trainer)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._parts = [
            self._file.with_name(f".{self._file.name}.{rank}") for rank in range(trainer.world_size)
        ]
        if trainer.is_global_zero:
            self._remove_parts_of_more_processes()
        self._part = self._parts[trainer.global_rank]
        self._part.write_text("")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave no rows behind where the run ends early."""
        if self._part is not None:
            self._part.unlink(missing_ok=True)

    def file(self, trainer: pl.Trainer) -> Path:
        """Return the file to write."""
        return Path(self.path or Path(trainer.default_root_dir) / "predictions.csv")

    def _remove_parts_of_more_processes(self) -> None:
        """Remove what a run that was killed has left, where this one has no use for the name."""
        for part in self._file.parent.glob(f".{glob.escape(self._file.name)}.*"):
            if re.fullmatch(r"\.\d+", part.suffix) and part not in self._parts:
                part.unlink(missing_ok=True)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the rows of all processes into one file, in order."""
        trainer.strategy.barrier("predictions")
        if not trainer.is_global_zero:
            return
        with ExitStack() as stack, replaced_file(self._file) as fresh:
            parts = [
                stack.enter_context(part.open(newline="", encoding="utf-8")) for part in self._parts
            ]
            rows = heapq.merge(*map(csv.reader, parts), key=lambda row: int(row[0]))
            with fresh.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([COLUMNS])
                csv.writer(file).writerows(rows)
        for part in self._parts:
            part.unlink()

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Append a batch's rows."""
        data: Any = getattr(trainer, "datamodule", None)
        names, indices = getattr(data, "label_names", None), prediction["index"].tolist()
        files = data.file_names(indices) if hasattr(data, "file_names") else [""] * len(indices)
        probability, predicted = prediction["probability"].max(dim=1)
        self._append(
            (index, _name(label, names), _name(best, names), f"{p:.6f}", file)
            for index, label, best, p, file in zip(
                indices,
                prediction["label"].tolist(),
                predicted.tolist(),
                probability.tolist(),
                files,
                strict=True,
            )
        )

    def _append(self, rows: Any) -> None:
        assert self._part is not None
        with self._part.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


def _name(label: int, names: Sequence[str] | None) -> str:
    if label < 0:
        return ""
    return names[label] if names else str(label)
