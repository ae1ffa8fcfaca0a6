"""What the publisher adds to a trained network: names, choices and further measurements."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kdna_zoo.errors import UserError
from kdna_zoo.records.record import Measured, Record
from kdna_zoo.release.license import DEFAULT_LICENSE


@dataclass(frozen=True)
class Series:
    """The same recipe with several seeds, this run among them or the control's.

    Attributes:
        title: What was trained.
        top1: Accuracy by seed, as fractions from 0 to 1.
        images: How many images each was measured on.
    """

    title: str
    top1: dict[str, float]
    images: int

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.mean(self.top1.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None of a single one."""
        return statistics.stdev(self.top1.values()) if len(self.top1) > 1 else None


@dataclass(frozen=True)
class Release:
    """What the publisher decides and measures.

    Attributes:
        tag: Names these weights among others of the network; None: after the data set.
        license: Licence of the weights, as an identifier of the Hub.
        half: Whether to round the weights to half precision.
        repo_id: The repository on the Hub where they will lie; None: nowhere but in their folder.
        measured: Figures of the written files; empty: those of the training.
        seeds: The same network trained with several seeds.
        control: The equal-depth network with kernels of its own, by the same recipe.
        conversion: Of a converted network that was not trained: its source, and what each step left
            (`ConversionReport.to_dict` of kdna_zoo.conversion).
    """

    tag: str | None = None
    license: str = DEFAULT_LICENSE
    half: bool = False
    repo_id: str | None = None
    measured: Measured = field(default_factory=Measured)
    seeds: Series | None = None
    control: Series | None = None
    conversion: Mapping[str, Any] | None = None


def make_series(title: str, records: list[Record], before: Series | None = None) -> Series | None:
    """Collect the accuracies of several runs; None if there are no runs.

    Args:
        title: What was trained.
        records: The runs.
        before: Runs of the same that were collected earlier.

    Raises:
        UserError: One was not measured, or on other images, or two have the same seed.
    """
    top1 = dict(before.top1) if before else {}
    images = {before.images} if before else set()
    for record in records:
        seed = str(record.run.seed)
        if record.metrics is None or record.metrics.top1 is None:
            raise UserError(
                f"the run of {record.arch} with seed {seed} was not measured at this checkpoint:"
                " give the last.ckpt of a run that came to its end"
            )
        if seed in top1:
            raise UserError(
                f"two runs of {record.arch} have the seed {seed}: --seeds and --control take each"
                " seed once, and --seeds the others than that of the weights"
            )
        top1[seed] = record.metrics.top1
        images.add(record.metrics.images)
    if len(images) > 1:
        raise UserError(
            f"the runs of {title} were measured on"
            f" {' and '.join(f'{n:,}' for n in sorted(images))} images: a mean needs the same"
        )
    return Series(title, top1, images.pop()) if images else None
