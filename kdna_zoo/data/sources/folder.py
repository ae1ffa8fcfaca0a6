"""A folder of images as a data set: its rows are made from the listing, and nothing is copied."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from kdna_zoo.data.sources.image_folder import ImageFolder, Level, read_image_folder
from kdna_zoo.data.sources.side_files import with_side_labels
from kdna_zoo.data.sources.source import Source
from kdna_zoo.errors import UserError

IMAGE, LABEL = "image", "label"
SHARD = 64  # images of a stream that stay together where shards are shuffled, at the least
MAX_SHARDS = 1024  # of a stream: more than there are workers


class FolderSource(Source):
    """A data set in a folder of images.

    Args:
        root: The folder.
        title: The data set in words, for messages.
        streaming: Whether to give streams rather than rows.
        level: Which folder is an image's class, the ``first`` or the ``last``.
        label_column: The column of a side file with the labels; None or ``label``: the folders.
        folder: What `read_image_folder` found in it; None: look.

    Raises:
        UserError: If it holds no images.
    """

    def __init__(
        self,
        root: Path,
        title: str,
        streaming: bool = False,
        level: Level = "first",
        label_column: str | None = None,
        folder: ImageFolder | None = None,
    ) -> None:
        super().__init__(title, root / "README.md", streaming)
        folder = folder or read_image_folder(root, level)
        self._classes_are_folders = label_column in (None, LABEL)
        if not self._classes_are_folders:
            folder = with_side_labels(folder, root, str(label_column))
        self._folder = folder
        self.splits = [name for name, split in folder.splits.items() if split.paths]
        if not self.splits:
            passed = f" ({folder.passed})" if str(folder.passed) else ""
            raise UserError(f"Cannot read {title}: the folder holds no images{passed}.")
        self._label = (str(label_column or LABEL)) if folder.labelled else None
        self._tables = {split: self._table(split) for split in self.splits}
        self.features = self._tables[self.splits[0]].features

    def class_names(self, split: str) -> list[str] | None:
        """Return the classes of a split, sorted; of all splits where there is none of that name."""
        if not self._classes_are_folders or self._label is None:
            return None
        names: set[str] = set()
        for name in split.split("+") if self.has(split) else self.splits:
            names |= self._folder.splits[name].classes().keys()
        return sorted(names)

    def describe(self) -> str:
        """Say what was found: splits, images and classes of each, and what was passed over."""
        each = [f"{name} {self._folder.splits[name].describe()}" for name in self.splits]
        passed = str(self._folder.passed)
        return f"{self.title}: {'; '.join(each)}" + (f"; passed over: {passed}" if passed else "")

    def _table(self, split: str) -> datasets.Dataset:
        found = self._folder.splits[split]
        none = pa.nulls(len(found.paths), pa.binary())
        paths = pa.array(found.paths, pa.string())
        columns: dict[str, Any] = {
            IMAGE: pa.StructArray.from_arrays([none, paths], ["bytes", "path"])
        }
        features: dict[str, Any] = {IMAGE: datasets.Image()}
        if self._label is not None:
            kind = pa.string() if self._classes_are_folders else self._kind()
            columns[self._label] = pa.array(found.labels, kind)
            features[self._label] = datasets.Value(str(kind))
        return datasets.Dataset(
            pa.table(columns),
            info=datasets.DatasetInfo(features=datasets.Features(features)),
            split=datasets.NamedSplit(split),
            fingerprint=f"folder-{split}",  # or it would read all paths again to make one
        )

    def _kind(self) -> pa.DataType:
        """Return the type that holds the labels of all splits, as a side file has them."""
        return pa.array([v for split in self._folder.splits.values() for v in split.labels]).type

    def _rows(self, split: str) -> datasets.Dataset:
        sizes = {name: len(table) for name, table in self._tables.items()}
        parts = datasets.ReadInstruction.from_spec(split).to_absolute(sizes)
        if len(parts) == 1 and (parts[0].from_, parts[0].to) == (0, sizes[parts[0].splitname]):
            return self._tables[parts[0].splitname]
        return datasets.concatenate_datasets(
            [self._tables[part.splitname].select(range(part.from_, part.to)) for part in parts]
        )

    def _stream(self, split: str) -> datasets.IterableDataset:
        table = self._tables[split]
        return table.to_iterable_dataset(num_shards=min(max(len(table) // SHARD, 1), MAX_SHARDS))

    def _count(self, split: str) -> int | None:
        return len(self._tables[split])
