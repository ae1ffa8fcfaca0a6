"""A data set as it was opened: its splits, columns, and where it comes from; rows or streams."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import DatasetCard

from kdna_zoo.errors import UserError


class Source(ABC):
    """One data set, ready to be read.

    Attributes:
        title: The data set in words, for messages.
        streaming: Whether it gives streams rather than rows.
        splits: Names of its splits.
        features: Its columns and their types.
        hub_id: Its id on the Hub; None if it is local.
        revision: The Hub's commit; None if it is local.
        card: The front matter of its README.md; empty if there is none.
        parquet_files: The local parquet files of each split; empty if it is not made of those.
    """

    splits: list[str]
    features: datasets.Features

    def __init__(self, title: str, readme: Path | None, streaming: bool) -> None:
        self.title = title
        self.streaming = streaming
        self.hub_id: str | None = None
        self.revision: str | None = None
        self.card = front_matter(readme)
        self.parquet_files: dict[str, list[str]] = {}

    @abstractmethod
    def _rows(self, split: str) -> datasets.Dataset:
        """Read a split, or a slice or sum of splits, that exists; ValueError for other slices."""

    @abstractmethod
    def _stream(self, split: str) -> datasets.IterableDataset:
        """Open one whole split as a stream."""

    @abstractmethod
    def _count(self, split: str) -> int | None:
        """Count the images of one whole split; None where nothing tells it."""

    def class_names(self, split: str) -> list[str] | None:
        """Return the classes of a split, where folders are classes; None where they are not.

        Where there is no such split, they are those of all splits.
        """
        return None

    def describe(self) -> str:
        """Say in a line what was found: the splits, and how many images each has."""
        counts = {split: self._count(split) for split in self.splits}
        each = [
            f"{split} {'an unknown number of' if n is None else f'{n:,}'} images"
            for split, n in counts.items()
        ]
        return f"{self.title}: {'; '.join(each)}"

    def first_split(self, argument: str, candidates: tuple[str, ...]) -> str:
        """The first of some splits that there is; `argument` would name another.

        Raises:
            UserError: There is none of them.
        """
        for split in candidates:
            if split in self.splits:
                return split
        raise UserError(
            f"No split of {self.title} is called {' or '.join(candidates)}; it has: "
            f"{', '.join(self.splits)}. Name one with {argument}, or hold a tenth of the training "
            "images out with val_fraction 0.1."
        )

    def read(self, split: str) -> datasets.Dataset:
        """Read one split.

        Args:
            split: Its name, or a slice or sum of splits such as ``train[:90%]``.

        Returns:
            The rows, one or more.
        """
        self._check_names(split)
        try:
            rows = self._rows(split)
        except ValueError as error:
            if "corresponds to no data" in str(error):
                raise self._empty(split) from error
            raise UserError(
                f"Split {split!r} of {self.title} cannot be read: {error}. Write a slice as "
                "'train[:90%]' or 'train[100:200]'."
            ) from error
        if not len(rows):
            raise self._empty(split)
        return rows

    def stream(self, split: str) -> datasets.IterableDataset:
        """Return one split as a stream of what its files hold, in their order.

        Args:
            split: Its name, or several joined by ``+``; a slice is not possible.
        """
        if "[" in split:
            raise UserError(
                f"Split {split!r}: a stream cannot be sliced. Name whole splits of {self.title} "
                f"({', '.join(self.splits)}), or set streaming to false."
            )
        self._check_names(split)
        return datasets.concatenate_datasets([self._stream(name) for name in _names(split)])

    def count(self, split: str) -> int | None:
        """Return the number of images in a stream; None where no file tells it."""
        counts = [self._count(name) for name in _names(split)]
        return None if None in counts else sum(count for count in counts if count is not None)

    def has(self, split: str) -> bool:
        """Whether each split named in `split` exists."""
        return all(name in self.splits for name in _names(split))

    def whole(self, split: str) -> str:
        """The splits that `split` takes slices of, whole: ``train[:90%]`` gives ``train``."""
        return "+".join(dict.fromkeys(_names(split)))

    def _check_names(self, split: str) -> None:
        missing = [name for name in _names(split) if name not in self.splits]
        if missing:
            raise UserError(
                f"There is no split {missing[0]!r} in {self.title}. It has: "
                f"{', '.join(self.splits)}."
            )

    def _empty(self, split: str) -> UserError:
        return UserError(f"Split {split!r} of {self.title} is empty.")


def _names(split: str) -> list[str]:
    return [part.partition("[")[0].strip() for part in split.split("+")]


def front_matter(readme: Path | None) -> dict[str, Any]:
    """Return the front matter of a README.md; empty where there is none."""
    if readme is None or not readme.is_file():
        return {}
    front: dict[str, Any] = DatasetCard.load(readme, ignore_metadata_errors=True).data.to_dict()
    return front
