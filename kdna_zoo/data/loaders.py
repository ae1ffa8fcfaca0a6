"""The DataLoaders over a split's images, for training and for evaluation."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, Subset

from kdna_zoo.data.rows import Example, ImageRows
from kdna_zoo.data.sampler import (
    EvaluationShare,
    Position,
    SeededRows,
    TrainingOrder,
    even_batch_size,
    processes,
)
from kdna_zoo.data.stream import ImageStream
from kdna_zoo.data.stream_loader import StreamLoader
from kdna_zoo.data.transforms import Views, collate_views
from kdna_zoo.data.workers import leave_signals_to_the_trainer

REPEATS = "; as many images may be repeated as could not be read in it before"


def make_training_loader(
    rows: ImageRows, batch_size: int, seed: int, start: Position, trainer: Any, **options: Any
) -> DataLoader[Example]:
    """Batch shuffled rows; an incomplete last batch is dropped, unless it is the only one.

    Args:
        rows: What to load.
        batch_size: Images in a batch.
        seed: What the order and the augmentation follow from.
        start: Where to begin.
        trainer: Knows the processes; None: there is one.
        **options: As for `make_loader`.
    """
    if getattr(trainer, "overfit_batches", 0):  # the same few, of all classes, in one order
        chosen = np.random.default_rng(seed).permutation(len(rows)).tolist()
        return make_loader(Subset(rows, chosen), batch_size, **options)
    draws = (start.epoch, start.batches * batch_size)
    order = TrainingOrder(len(rows), seed, *processes(trainer), draws, rows.repeats)
    whole = len(order) >= batch_size
    collate = collate_views if isinstance(rows.transform, Views) else None
    options = {**options, "drop_last": whole, "collate": collate}
    return make_loader(SeededRows(rows), batch_size, sampler=order, **options)


def make_stream_loader(
    stream: ImageStream,
    batch_size: int,
    images: int,
    seed: int,
    start: Position,
    trainer: Any,
    **options: Any,
) -> StreamLoader:
    """Batch a stream for training, and say what it takes to begin in the middle of an epoch.

    Args:
        stream: What to load.
        batch_size: Images in a batch.
        images: Images in an epoch of this process.
        seed: What the order follows from.
        start: Where to begin.
        trainer: Knows the epoch; None: it is that of the start.
        **options: As for `make_loader`.
    """
    if stream.shuffling is not None:
        stream.shuffling = replace(stream.shuffling, seed=seed)
    if start.batches:
        rank_zero_info(
            f"reading the stream of epoch {start.epoch} again up to batch {start.batches}, where "
            f"the run stood{REPEATS if stream.bad.skip else ''}"
        )

    def epoch() -> int:
        return start.reached(trainer).epoch

    at = (start.epoch, start.batches)
    return StreamLoader(stream, batch_size, images, epoch, start=at, **options)


def make_evaluation_loader(
    images: ImageRows | ImageStream, batch_size: int, rank: int, ranks: int, **options: Any
) -> DataLoader[Example]:
    """Batch a process's share of the images, in order.

    Args:
        images: What to load; a stream takes its share itself.
        batch_size: Images in a batch.
        rank: This process.
        ranks: How many processes there are.
        **options: As for `make_loader`.
    """
    if isinstance(images, ImageStream):
        return make_loader(images, batch_size, **options)
    share = EvaluationShare(len(images), rank, ranks)
    return make_loader(images, even_batch_size(len(images), ranks, batch_size), share, **options)


def make_loader(
    images: Any,
    batch_size: int,
    sampler: Any = None,
    num_workers: int = 0,
    pin_memory: bool = False,
    drop_last: bool = False,
    collate: Any = None,
) -> DataLoader[Example]:
    """Batch images.

    Args:
        images: Rows, draws of rows, or a stream.
        batch_size: Images in a batch.
        sampler: Gives the keys of the rows; None: all in order.
        num_workers: Processes that load; 0: this process.
        pin_memory: Whether to load into page-locked memory.
        drop_last: Whether to drop an incomplete last batch.
        collate: Makes a batch of examples; None: torch's own way.
    """
    return DataLoader(
        images,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=drop_last,
        collate_fn=collate,
        pin_memory=pin_memory,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        worker_init_fn=leave_signals_to_the_trainer,
        generator=torch.Generator(),  # to begin an epoch, it would draw from the global one
    )
