"""Finds the parquet files of a folder and the split of each, by rules that do not guess.

A file is of the split that the folder at the top is called by, as for image folders; else of the
one that its own name has among its words, such as ``train-00000-of-00002.parquet``. Where no file
says a split, all are ``train``.
"""

import os
import re
from pathlib import Path

from kdna_zoo.data.sources.image_folder import SPLIT_NAMES
from kdna_zoo.data.sources.pictures import PassedOver, files_below
from kdna_zoo.errors import UserError

PARQUET = ".parquet"
SIDE_FILE = "metadata.parquet"  # beside images: labels, where they are asked for
NO_SPLIT = "parquet file without a split in its name"


def is_parquet(name: str) -> bool:
    """Tell by its name whether a file is a parquet file with rows of a data set."""
    return name.lower().endswith(PARQUET) and name != SIDE_FILE


def find_parquet_files(root: Path, passed: PassedOver) -> dict[str, list[str]]:
    """Find the parquet files below a folder.

    Args:
        root: The folder.
        passed: Counts the files that are passed over.

    Returns:
        The files of each split, in order; empty where there are none.

    Raises:
        UserError: If a file's name has the words of two splits.
    """
    splits: dict[str, list[str]] = {}
    without: list[str] = []
    for file in files_below(str(root), passed, wanted=is_parquet):
        split = _split_of(os.path.relpath(file, root))
        (without if split is None else splits.setdefault(split, [])).append(file)
    if not splits:
        return {"train": without} if without else {}
    for file in without:
        passed.note(NO_SPLIT, file)
    order = list(SPLIT_NAMES.values())
    return {split: splits[split] for split in sorted(splits, key=order.index)}


def _split_of(file: str) -> str | None:
    *folders, name = file.split(os.sep)
    if folders and folders[0].lower() in SPLIT_NAMES:
        return SPLIT_NAMES[folders[0].lower()]
    words = re.split(r"[\W\d_]+", name.lower().removesuffix(PARQUET))
    found = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    if len(found) > 1:
        raise UserError(
            f"{file} may be of the splits {' and '.join(sorted(found))}: put it into a folder that "
            "has the name of its split, or call it by one, as train-00000.parquet"
        )
    return found.pop() if found else None
