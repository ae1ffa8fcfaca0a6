"""Labels from a file beside the images (``metadata.csv`` and the like), where they are asked for.

The file lists ``file_name``, relative to its own folder, and one column or more, as for the
``imagefolder`` of Hugging Face `datasets`. It lies at the top of the data set or of a split.
"""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, json
from pyarrow import parquet as pq

from kdna_zoo.data.sources.image_folder import FolderSplit, ImageFolder
from kdna_zoo.errors import UserError

READERS = {
    "metadata.csv": csv.read_csv,
    "metadata.jsonl": json.read_json,
    "metadata.parquet": pq.read_table,
}
FILE_NAME = "file_name"
NOT_LISTED = "image that no side file lists"
NOT_THERE = "listed image that is not there"


def with_side_labels(folder: ImageFolder, root: Path, column: str) -> ImageFolder:
    """Give the images of a folder the labels of its side files.

    Args:
        folder: What the folder holds.
        root: The folder.
        column: The column of the labels.

    Returns:
        The same splits, without the images that no side file lists.

    Raises:
        UserError: If there is no such file or column, or a file cannot be read.
    """
    labels: dict[str, Any] = {}
    for file in _side_files(root, column):
        labels.update(_read(file, column))
        folder.passed.use_file(str(file))
    splits = {}
    for name, split in folder.splits.items():
        listed = [path for path in split.paths if os.path.normpath(path) in labels]
        values = [labels[os.path.normpath(path)] for path in listed]
        splits[name] = FolderSplit(listed, values)
        for path in split.paths:
            if os.path.normpath(path) not in labels:
                folder.passed.note(NOT_LISTED, path)
    used = {os.path.normpath(path) for split in splits.values() for path in split.paths}
    for path in labels.keys() - used:
        folder.passed.note(NOT_THERE, path)
    return ImageFolder(splits, folder.passed)


def _side_files(root: Path, column: str) -> list[Path]:
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    files = [folder / name for folder in folders for name in READERS]
    found = [file for file in files if file.is_file()]
    if not found:
        raise UserError(
            f"label_column {column!r}: the classes of an image folder are its folders, and {root} "
            f"has no {', '.join(READERS)} with other labels. Leave label_column out, or put such "
            f"a file there with the columns {FILE_NAME} and {column}."
        )
    return found


def _read(file: Path, column: str) -> dict[str, Any]:
    """Return the label of each image that a side file lists, by path."""
    try:
        table = READERS[file.name](file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"Cannot read {file}: {error}") from error
    for wanted in (FILE_NAME, column):
        if wanted not in table.column_names:
            raise UserError(
                f"There is no column {wanted!r} in {file}. It has: {', '.join(table.column_names)}."
            )
    names = table.column(FILE_NAME).to_pylist()
    paths = [os.path.normpath(file.parent / str(name)) for name in names]
    return dict(zip(paths, table.column(column).to_pylist(), strict=True))
