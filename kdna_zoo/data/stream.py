"""The images of a split as a stream, never on disk as a whole; decodes where the worker runs.

Every rank and worker opens the same stream in the same order and takes its share:

- Of as many files as there are workers, or more, each worker of a rank has its own; of fewer, each
  reads all of them and takes every n-th image.
- Ranks share by images: all read everything, and each decodes every n-th image, so that each image
  is seen once however uneven the files are. Or they share by shards: each rank reads files of its
  own only, which saves traffic, and ranks differ in their number of images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

import datasets
import numpy as np
import torch
from datasets.utils.file_utils import xopen
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from kdna_zoo.data.classes import Classes
from kdna_zoo.data.decode import (
    BadImages,
    LabelError,
    StreamError,
    UnreadableImageError,
    decode_image,
)
from kdna_zoo.data.randomness import kept_random_state, seed_all
from kdna_zoo.data.rows import Example
from kdna_zoo.errors import UserError

READ = 16  # images read at once
MAX_WORKERS = 1024  # of one rank, whose unreadable images are counted
Labelled: TypeAlias = tuple[dict[str, Any] | None, int]  # an encoded image and its class index
Numbered: TypeAlias = tuple[int, Labelled]
Unit: TypeAlias = Literal["images", "shards"]


@dataclass(frozen=True)
class StreamOptions:
    """How to stream a training split.

    Attributes:
        images_per_epoch: Images in an epoch, over all devices; None: as many as the split says to
            have.
        shuffle_buffer: Encoded images among which to shuffle, in each worker.
        share: How devices share a stream. ``images``: each reads everything and decodes its
            share, and each image is seen once. ``shards``: each reads files of its own only; one
            with fewer images begins its files again, one with more leaves some out.
    """

    images_per_epoch: int | None = None
    shuffle_buffer: int = 1000
    share: Unit = "images"

    def __post_init__(self) -> None:
        for name, value in (
            ("images_per_epoch", self.images_per_epoch),
            ("shuffle_buffer", self.shuffle_buffer),
        ):
            if value is not None and value < 1:
                raise UserError(f"stream.{name} must be at least 1, got {value}")

    def batches_depend_on(self, num_workers: int) -> dict[str, int | str | None]:
        """Return what the batches of an epoch depend on: each worker shuffles files of its own."""
        made_of = {"stream.share": self.share, "stream.shuffle_buffer": self.shuffle_buffer}
        return {"num_workers": num_workers, **made_of}


@dataclass(frozen=True)
class RankShare:
    """Which part of a stream a rank takes.

    Attributes:
        rank: Its number.
        ranks: How many there are.
        by: Whether ranks share by images or by shards (files).
    """

    rank: int = 0
    ranks: int = 1
    by: Unit = "images"


@dataclass(frozen=True)
class Shuffling:
    """How a stream is shuffled: the order of its shards, and images within a buffer.

    Attributes:
        seed: With the epoch, fixes the order; the same on all ranks.
        buffer: Images in the buffer, as encoded bytes; each worker has one.
    """

    seed: int = 0
    buffer: int = 1000


class ImageStream(IterableDataset[Example]):
    """Examples ``(image, label)``.

    Args:
        stream: One split, with an image and a label column.
        columns: Names of these.
        classes: What the labels mean.
        transform: PIL image to tensor.
        mode: PIL mode that the transform gets, ``RGB`` or ``L``.
        split: Name of the split, for messages.
        title: The data set in words, for messages.
        images: Number of images in the split; None: unknown.
        bad: What to do with images that cannot be read; None: end the run.
    """

    def __init__(
        self,
        stream: datasets.IterableDataset,
        columns: tuple[str, str],
        classes: Classes,
        transform: Callable[[Image.Image], Tensor],
        mode: str = "RGB",
        split: str = "train",
        title: str = "the data set",
        images: int | None = None,
        bad: BadImages | None = None,
    ) -> None:
        image, label = columns
        stream = stream.select_columns([image, label])
        stream = stream.cast_column(image, datasets.Image(decode=False))
        self.encoded = stream.with_format("arrow")
        self.columns = columns
        self.classes = classes
        self.transform = transform
        self.mode = mode
        self.split = split
        self.title = title
        self.images = images
        self.bad = bad or BadImages(MAX_WORKERS)
        self.share = RankShare()
        self.shuffling: Shuffling | None = None
        state = torch.zeros(3, dtype=torch.int64)  # shared with workers, which may stay
        self._state: Tensor = state.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        """The epoch, which chooses the order."""
        return int(self._state[0])

    def begin(self, epoch: int, skip: int = 0, batch_size: int = 1) -> None:
        """Choose what the next pass gives, here and in the workers.

        Args:
            epoch: Its order.
            skip: How many batches in its beginning are known: they are read again, but not decoded,
                and come with empty images.
            batch_size: Images in a batch.
        """
        self._state.copy_(torch.tensor([epoch, skip, batch_size]))

    def __iter__(self) -> Iterator[Example]:
        worker, workers = _worker()
        _, skip, batch_size = self._state.tolist()
        images: Iterator[Numbered] = enumerate(self._labelled())
        for _ in range(skip // workers + (worker < skip % workers)):
            known = list(islice(images, batch_size))
            if len(known) < batch_size:  # the loader will fill it up with what is not known
                images = iter(known)
                break
            yield from ((torch.empty(0), label) for _, (_, label) in known)
        yield from self._decoded(images)

    def _decoded(self, images: Iterator[Numbered]) -> Iterator[Example]:
        found = 0
        for number, (encoded, label) in images:
            try:
                image = decode_image(self._fetched(encoded), self.mode)
            except UnreadableImageError as error:
                found += 1
                self.bad.note(_worker()[0], found, self._named(number, encoded, error))
                continue
            yield self._transformed(image, number), label

    def _transformed(self, image: Image.Image, number: int) -> Tensor:
        """Transform an image; in training with random numbers of its own."""
        if self.shuffling is None:
            return self.transform(image)
        place = (self.shuffling.seed, self.epoch, self.share.rank, _worker()[0], number)
        with kept_random_state():
            seed_all(int(np.random.SeedSequence(place).generate_state(1)[0]))
            return self.transform(image)

    def _labelled(self) -> Iterator[Labelled]:
        """Give this worker's images, encoded, and class indices."""
        number = 0
        for images, labels in self._read():
            try:
                codes = self.classes.encode(labels, self.split, self.title, first=number)
            except UserError as error:
                raise LabelError(f"{error} Rows are counted as {self._where()} reads.") from error
            yield from zip(images, codes.tolist(), strict=True)
            number += len(labels)

    def _read(self) -> Iterator[tuple[list[Any], list[Any]]]:
        """Give this worker's rows of a few images at a time, as they are stored."""
        stream, step, start = self._divide(*_worker())
        tables = iter(stream.iter(batch_size=READ))
        while True:
            try:
                table = next(tables, None)
            except Exception as error:  # of the network, the Hub, fsspec, or a broken file
                raise self._broken_off(error) from error
            if table is None:
                return
            chosen = table.take(list(range(start, table.num_rows, step)))
            start = (start - table.num_rows) % step
            image, label = self.columns
            yield chosen[image].to_pylist(), chosen[label].to_pylist()

    def _divide(self, worker: int, workers: int) -> tuple[datasets.IterableDataset, int, int]:
        """Find a worker's share.

        Returns:
            A stream, and of which images it is to take every how manieth, from which on.
        """
        stream, share, step, start = self._ordered(), self.share, 1, 0
        if share.by == "shards":
            stream = stream.shard(share.ranks, share.rank, contiguous=False)
        if stream.num_shards >= workers:
            stream = stream.shard(workers, worker, contiguous=False)
        else:
            step, start = workers, worker
        if share.by == "images":
            # Workers begin with another rank each, so that no rank gets all that is left over.
            start += step * ((share.rank - worker) % share.ranks)
            step *= share.ranks
        return stream, step, start

    def _ordered(self) -> datasets.IterableDataset:
        if self.shuffling is None:
            return self.encoded
        if get_worker_info() is not None:
            # Waits for arrow's threads at the end of each pass, lest they outlive the interpreter;
            # a worker leaves without winding its interpreter up.
            datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
        random = np.random.default_rng((self.shuffling.seed, self.epoch))
        return self.encoded.shuffle(generator=random, buffer_size=self.shuffling.buffer)

    def _named(
        self, number: int, encoded: dict[str, Any] | None, error: UnreadableImageError
    ) -> UnreadableImageError:
        file = f" ({encoded['path']})" if encoded and encoded["path"] else ""
        return UnreadableImageError(
            f"The image {number}{file} of split {self.split!r} of {self.title}, as "
            f"{self._where()} counts, cannot be read: {error}. Repair it, take it out of the data "
            "set, or set on_bad_image to skip."
        )

    def _fetched(self, encoded: dict[str, Any] | None) -> dict[str, Any] | None:
        """Read an image's bytes where it is only named, by an address."""
        if encoded is None or encoded["bytes"] is not None or "://" not in str(encoded["path"]):
            return encoded
        try:
            with xopen(encoded["path"], "rb") as file:
                return {"bytes": file.read(), "path": encoded["path"]}
        except Exception as error:  # of the network, the Hub or fsspec
            raise self._broken_off(error) from error

    def _broken_off(self, error: Exception) -> StreamError:
        return StreamError(
            f"The stream of split {self.split!r} of {self.title} broke off, as {self._where()} "
            f"read it: {type(error).__name__} {error}. Check the connection, then go on "
            "with --resume, from the last checkpoint."
        )

    def _where(self) -> str:
        return f"worker {_worker()[0]} of rank {self.share.rank} in epoch {self.epoch}"


def _worker() -> tuple[int, int]:
    """Return this worker's number and how many there are; one without any worker process."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)
