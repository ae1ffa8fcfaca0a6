"""A data set as it was opened: its splits, columns, and where it comes from; rows or streams."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
from huggingface_hub import DatasetCard

from kdna_zoo.errors import UserError


class Source:
    """One data set, downloaded and prepared, or as a stream.

    Attributes:
        title: The data set in words, for messages.
        splits: Names of its splits.
        features: Its columns and their types.
        hub_id: Its id on the Hub; None if it is local.
        revision: The Hub's commit; None if it is local.
        card: The front matter of its README.md; empty if there is none.
        classes_are_folders: Whether folder names make the classes, rather than a declaration.
        parquet_files: The local parquet files of each split; empty if it is not made of those.
        streaming: Whether it gives streams rather than rows.
    """

    features: datasets.Features

    def __init__(
        self,
        builder: Any,
        title: str,
        readme: Path | None,
        hub_id: str | None = None,
        revision: str | None = None,
        streaming: bool = False,
    ) -> None:
        self._builder = builder
        self.title = title
        self.streaming = streaming
        if streaming:
            self._streams = builder.as_streaming_dataset()
            self.splits = list(self._streams)
            self.features = _stream_features(self._streams, title)
        else:
            builder.download_and_prepare()
            self.splits = list(builder.info.splits)
            self.features = builder.info.features
        self.hub_id = hub_id
        self.revision = revision
        self.card = front_matter(readme)
        self.classes_are_folders = builder.name == "imagefolder"
        self.parquet_files: dict[str, list[str]] = {}
        if builder.name == "parquet" and hub_id is None:
            self.parquet_files = {str(k): list(v) for k, v in builder.config.data_files.items()}

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
            The rows, memory-mapped, one or more.
        """
        self._check_names(split)
        try:
            return self._builder.as_dataset(split=split)
        except ValueError as error:
            if "corresponds to no data" in str(error):
                raise UserError(f"Split {split!r} of {self.title} is empty.") from error
            raise UserError(
                f"Split {split!r} of {self.title} cannot be read: {error}. Write a slice as "
                "'train[:90%]' or 'train[100:200]'."
            ) from error

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
        return datasets.concatenate_datasets([self._streams[name] for name in _names(split)])

    def count(self, split: str) -> int | None:
        """Return the number of images in a stream; None where no file tells it."""
        counts = [self._count(name) for name in _names(split)]
        return None if None in counts else sum(count for count in counts if count is not None)

    def _count(self, split: str) -> int | None:
        if split in self.parquet_files:
            return sum(int(pq.read_metadata(file).num_rows) for file in self.parquet_files[split])
        if self.hub_id is None:
            tables = self._streams[split].with_format("arrow").iter(batch_size=1000)
            return sum(int(table.num_rows) for table in tables)
        info = (self._builder.info.splits or {}).get(split)
        return int(info.num_examples) if info else None

    def _check_names(self, split: str) -> None:
        missing = [name for name in _names(split) if name not in self.splits]
        if missing:
            raise UserError(
                f"There is no split {missing[0]!r} in {self.title}. It has: "
                f"{', '.join(self.splits)}."
            )

    def has(self, split: str) -> bool:
        """Whether each split named in `split` exists."""
        return all(name in self.splits for name in _names(split))

    def whole(self, split: str) -> str:
        """The splits that `split` takes slices of, whole: ``train[:90%]`` gives ``train``."""
        return "+".join(dict.fromkeys(_names(split)))


def _names(split: str) -> list[str]:
    return [part.partition("[")[0].strip() for part in split.split("+")]


def front_matter(readme: Path | None) -> dict[str, Any]:
    """Return the front matter of a README.md; empty where there is none."""
    if readme is None or not readme.is_file():
        return {}
    front: dict[str, Any] = DatasetCard.load(readme, ignore_metadata_errors=True).data.to_dict()
    return front


def _stream_features(streams: Any, title: str) -> datasets.Features:
    features = next(iter(streams.values())).features
    if features is None:
        raise UserError(
            f"The files of {title} do not declare their columns, as a stream needs; set streaming "
            "to false."
        )
    return features
