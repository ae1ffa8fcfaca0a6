"""Images a second of loaders: ours, ours as a stream, and timm's, over the same files.

Each gives shuffled training batches of the same size, decoded and augmented by the same transform
in as many workers. The rounds are interleaved; in each, every loader runs one whole epoch.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from timm.data import ImageDataset, create_loader

from kdna_zoo.analysis.bench.timing import Measurement, Times, measure
from kdna_zoo.data import ImageData, SourceOptions
from kdna_zoo.records.formats import LOADERS as KIND
from kdna_zoo.records.formats import mark
from kdna_zoo.records.machine import hardware, versions_of_measurement

TIMM = "timm"
LOADERS = (TIMM, "timm, prefetcher", "kdna_zoo", "kdna_zoo, streaming")


@dataclass(frozen=True)
class LoaderSetting:
    """What all loaders have in common.

    Attributes:
        batch_size: Images in a batch.
        img_size: Height and width of what a loader gives, in pixels.
        workers: Processes that load; 0: this process.
        images: Files in the folder.
    """

    batch_size: int
    img_size: int
    workers: int
    images: int

    def __str__(self) -> str:
        batches = f"batch {self.batch_size}, {self.img_size} x {self.img_size} pixels"
        return f"{self.images} JPEG files, {batches}, {self.workers} workers"


@dataclass(frozen=True)
class LoaderComparison:
    """What the rounds gave.

    Attributes:
        setting: What all had in common.
        measurement: Seconds of each loader, of one epoch, in the order of `LOADERS`.
    """

    setting: LoaderSetting
    measurement: Measurement

    def rates(self, times: Times) -> tuple[float, float, float]:
        """Return images a second: lower quartile, median, upper quartile."""
        lower, upper = times.quartiles
        epoch = self.images_per_epoch
        return epoch / upper, epoch / times.median, epoch / lower

    @property
    def images_per_epoch(self) -> int:
        """Images that a loader gives in an epoch: those of whole batches."""
        return self.setting.images // self.setting.batch_size * self.setting.batch_size

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain JSON types."""
        first = self.measurement.times[0]
        results = []
        for name, times in zip(LOADERS, self.measurement.times, strict=True):
            lower, median, upper = self.rates(times)
            results.append(
                {
                    "loader": name,
                    "images_per_second": {"median": median, "quartiles": [lower, upper]},
                    "ratio": first.median / times.median,
                    "seconds_per_epoch": list(times.seconds),
                }
            )
        return {
            **mark(KIND),
            **asdict(self.setting),
            "order": [list(turns) for turns in self.measurement.order],
            "hardware": hardware("cpu"),
            "versions": versions_of_measurement(),
            "results": results,
        }


def compare_loaders(
    folder: Path, setting: LoaderSetting, rounds: int, report: Callable[[str], None]
) -> LoaderComparison:
    """Time an epoch of each loader over one folder of images.

    Args:
        folder: Holds ``train/CLASS/NAME.jpg``, and room for what our loader writes.
        setting: What all loaders have in common.
        rounds: How many epochs of each to time.
        report: Shows what is going on.
    """
    with _loaders(folder, setting) as loaders:
        steps = [_epoch_of(loader, setting) for loader in loaders]
        report("warming up ...")
        measurement = measure(
            steps,
            rounds,
            warmup=1,
            progress=lambda done: report(f"round {done} of {rounds} ..."),
        )
    return LoaderComparison(setting, measurement)


@contextmanager
def _loaders(folder: Path, setting: LoaderSetting) -> Iterator[list[Iterable[Any]]]:
    """Make the loaders in the order of `LOADERS`; their workers end with the block."""
    size = (3, setting.img_size, setting.img_size)
    common: dict[str, Any] = {"batch_size": setting.batch_size, "num_workers": setting.workers}
    ours = [
        ImageData(
            str(folder),
            input_size=size,
            augment={"color_jitter": 0.4},
            source=SourceOptions(cache_dir=str(folder / "cache")),
            streaming=streaming,
            **common,
        )
        for streaming in (False, True)
    ]
    theirs = [
        create_loader(
            ImageDataset(str(folder / "train")),  # type: ignore[no-untyped-call]
            size,
            is_training=True,
            use_prefetcher=prefetcher,
            device=torch.device("cpu"),
            interpolation=ours[0].data_config["interpolation"],
            persistent_workers=setting.workers > 0,
            **common,
        )
        for prefetcher in (False, True)
    ]
    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    loaders: list[Iterable[Any]] = [*theirs, *(data.train_dataloader() for data in ours)]
    try:
        yield loaders
    finally:
        loaders.clear()
        if not hidden:
            datasets.enable_progress_bars()


def _epoch_of(loader: Iterable[Any], setting: LoaderSetting) -> Callable[[], None]:
    expected = setting.images // setting.batch_size * setting.batch_size

    def epoch() -> None:
        seen = sum(len(labels) for _, labels in loader)
        assert seen == expected, f"{seen} images in place of {expected}"

    return epoch
