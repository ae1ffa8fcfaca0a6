"""The images of a conversion: some to calibrate with, and labelled ones to measure by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdna_zoo.data.labelled import LabelledImages
from kdna_zoo.data.loaders import make_loader
from kdna_zoo.data.rows import ImageRows
from kdna_zoo.data.sources.opening import open_source
from kdna_zoo.data.sources.source import Source
from kdna_zoo.data.splits import TEST_SPLITS, describe_data
from kdna_zoo.data.transforms import eval_transform, train_transform
from kdna_zoo.errors import UserError
from kdna_zoo.records.record import DataRecord, Split

TRAIN_SPLITS = ("train", "training")
EMBEDDED = "embedded"


@dataclass(frozen=True)
class Calibration:
    """Loaders of a conversion.

    Attributes:
        images: Calibration images.
        evaluate: Labelled images; None: none are measured by.
        data: What they are.
        split: Of those that are measured by.
    """

    images: Any
    evaluate: Any
    data: DataRecord
    split: str | None


def load_calibration(
    path: str,
    config: Mapping[str, Any],
    label_names: Sequence[str],
    *,
    split: str | None,
    count: int,
    evaluate_split: str | None,
    evaluate_count: int,
    batch_size: int,
    workers: int,
    augment: bool,
    seed: int,
) -> Calibration:
    """Draw images at random, so that all classes come up however they are sorted.

    Args:
        path: As for `ImageData`; ``embedded``: the embedded sample.
        config: The network's data config.
        label_names: Its classes.
        split: To calibrate with; None: the training split, or the first there is.
        count: How many images at most.
        evaluate_split: To measure by; None: the first there is of test, validation and val other
            than `split`, if it has labels; ``none``: nothing is measured.
        evaluate_count: How many of those at most.
        batch_size: Images in a batch.
        workers: Processes that load; 0: this one.
        augment: Whether to crop and flip the calibration images at random.
        seed: Fixes the choice.
    """
    source = open_source(None if path == EMBEDDED else path, None, None, None)
    split = split or next((s for s in TRAIN_SPLITS if s in source.splits), source.splits[0])
    labelled = LabelledImages(source, split, num_classes=len(label_names), learnt_names=label_names)
    mode = "RGB" if config["input_size"][0] == 3 else "L"
    transform = train_transform(config, None) if augment else eval_transform(config)
    rows = _drawn(source, split, labelled, count, transform, mode, seed)
    loader = make_loader(rows, batch_size, num_workers=workers)
    measured, count_of, of = None, 0, _evaluated(source, split, evaluate_split)
    if of and not labelled.has_labels:
        if evaluate_split:
            raise UserError(
                f"accuracy needs a class for each image, and {source.title} has no labels: leave "
                "--evaluate-split away, or give labelled images"
            )
        of = None
    if of:
        test = labelled.rows(of, eval_transform(config), mode)
        chosen = np.random.default_rng(seed).permutation(len(test))[:evaluate_count]
        count_of = len(chosen)
        measured = make_loader(_chosen(test, chosen), batch_size, num_workers=workers)
    described = describe_data(source, path, {"train": (split, len(rows))})
    val = Split(of, count_of) if of else None
    data = DataRecord(**{**described, "train": Split(split, len(rows)), "val": val})
    return Calibration(loader, measured, data, of)


def _evaluated(source: Source, split: str, wanted: str | None) -> str | None:
    if wanted == "none":
        return None
    return wanted or next((s for s in TEST_SPLITS if s in source.splits and s != split), None)


def _drawn(
    source: Source,
    split: str,
    labelled: LabelledImages,
    count: int,
    transform: Any,
    mode: str,
    seed: int,
) -> ImageRows:
    rows = source.read(split)
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    labels = np.zeros(len(chosen), np.int64)
    origin = f"split {split!r} of {source.title}"
    return ImageRows(
        rows.select(chosen), labelled.image_column, labels, transform, mode=mode, origin=origin
    )


def _chosen(rows: ImageRows, chosen: Any) -> Any:
    from torch.utils.data import Subset

    return Subset(rows, chosen.tolist())


def no_images() -> DataRecord:
    """Return what there is to say where no images were given."""
    return DataRecord("none", None, None, None, None, None, Split("none", 0), None)
