"""Images of any data set for commands that look at networks: drawn at random, without labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from kdna_zoo.data.columns import find_image_column
from kdna_zoo.data.loaders import make_loader
from kdna_zoo.data.rows import ImageRows
from kdna_zoo.data.sources.opening import open_source
from kdna_zoo.data.sources.source import Source
from kdna_zoo.data.splits import TEST_SPLITS
from kdna_zoo.data.transforms import eval_transform, input_channels, resolve_config
from kdna_zoo.records.record import DATA_CONFIG_KEYS


@dataclass(frozen=True)
class Images:
    """A loader and what it gives.

    Attributes:
        loader: Batches that begin with images (N, C, H, W), transformed as for the network.
        title: Split and data set in words.
        count: Images in all.
    """

    loader: Any
    title: str
    count: int


def load_images(
    network: nn.Module,
    path: str | None,
    split: str | None,
    count: int,
    batch_size: int,
    workers: int,
    seed: int,
) -> Images:
    """Draw images of a split at random, so that all classes come up however it is sorted.

    Args:
        network: Its data config says how images are transformed.
        path: As for `ImageData`; None: the embedded sample.
        split: The split; None: the first there is of test, validation, val, or else the first.
        count: How many images at most.
        batch_size: Images in a batch.
        workers: Processes that load; 0: this one.
        seed: Fixes the choice.
    """
    source = open_source(path, None, None, None)
    split = split or _first(source)
    rows = source.read(split)
    column = find_image_column(rows.features, None, source.title)
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    config = resolve_config(
        dict.fromkeys(DATA_CONFIG_KEYS), dict(_config(network)), input_channels(network)
    )
    title = f"split {split!r} of {source.title}"
    images = ImageRows(
        rows.select(chosen),
        column,
        np.zeros(len(chosen), np.int64),
        eval_transform(config),
        mode="RGB" if config["input_size"][0] == 3 else "L",
        origin=title,
    )
    return Images(make_loader(images, batch_size, num_workers=workers), title, len(chosen))


def _first(source: Source) -> str:
    return next((split for split in TEST_SPLITS if split in source.splits), source.splits[0])


def _config(network: nn.Module) -> Any:
    return getattr(network, "pretrained_cfg", None) or {}
