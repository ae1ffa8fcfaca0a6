"""What the publisher adds to a trained network: names, choices and further measurements."""

import statistics
from dataclasses import dataclass, field

from kdna_zoo.release.license import DEFAULT_LICENSE
from kdna_zoo.release.record import Measured, Record


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
    """

    tag: str | None = None
    license: str = DEFAULT_LICENSE
    half: bool = False
    repo_id: str | None = None
    measured: Measured = field(default_factory=Measured)
    seeds: Series | None = None
    control: Series | None = None


def make_series(title: str, records: list[Record]) -> Series | None:
    """Collect the accuracies of several runs; None if there are no runs that were measured."""
    measured = [record for record in records if record.metrics]
    if not measured:
        return None
    top1 = {
        str(r.run.seed if r.run.seed is not None else f"run {i}"): r.metrics.top1
        for i, r in enumerate(measured)
        if r.metrics
    }
    first = measured[0].metrics
    assert first is not None
    return Series(title, top1, first.images)
