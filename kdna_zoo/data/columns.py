"""Finds the image and the label column of a data set by their types."""

from typing import Any

import datasets
import pyarrow.parquet as pq

from kdna_zoo.data.sources.source import Source
from kdna_zoo.errors import UserError

ENCODED_IMAGES = ("binary", "large_binary", "string", "large_string", "bytes and path")
PLAIN_LABELS = ("int", "uint", "string", "large_string", "bool")  # beginnings of `Value` types


def find_image_column(features: datasets.Features, wanted: str | None, title: str) -> str:
    """Find the image column.

    Args:
        features: The columns of the data set and their types.
        wanted: The column that the user names; None: the only one of type `Image`.
        title: The data set in words, for messages.

    Returns:
        The name of the column.
    """
    found = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    column = _one("image", found, features, wanted, title)
    kind = features[column]
    if not isinstance(kind, datasets.Image) and describe_type(kind) not in ENCODED_IMAGES:
        raise UserError(
            f"Column {column!r} of {title} is of type {describe_type(kind)}; images are of type "
            f"Image, or encoded images or file names: {', '.join(ENCODED_IMAGES)}."
        )
    return column


def find_label_column(features: datasets.Features, wanted: str | None, title: str) -> str:
    """Find the label column.

    Args:
        features: The columns of the data set and their types.
        wanted: The column that the user names; None: the only one of type `ClassLabel`, or, where
            there is none of that type, the only one of integers, strings or booleans.
        title: The data set in words, for messages.

    Returns:
        The name of the column.
    """
    column = _one("label", label_columns(features), features, wanted, title)
    kind = features[column]
    if not isinstance(kind, datasets.ClassLabel) and not _is_plain_label(kind):
        raise UserError(
            f"Column {column!r} of {title} is of type {describe_type(kind)}; labels are class "
            "labels, integers, strings or booleans."
        )
    return column


def label_columns(features: datasets.Features) -> list[str]:
    """Return the columns that may hold the labels: of type `ClassLabel`, else of plain values."""
    declared = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    return declared or [name for name, kind in features.items() if _is_plain_label(kind)]


def describe_type(kind: Any) -> str:
    """Name a column's type in a word or two."""
    if isinstance(kind, datasets.ClassLabel):
        return f"ClassLabel of {kind.num_classes}"
    if isinstance(kind, dict):
        return " and ".join(sorted(kind))
    return str(kind.dtype) if isinstance(kind, datasets.Value) else type(kind).__name__


def _is_plain_label(kind: Any) -> bool:
    return isinstance(kind, datasets.Value) and kind.dtype.startswith(PLAIN_LABELS)


def _one(
    role: str, found: list[str], features: datasets.Features, wanted: str | None, title: str
) -> str:
    columns = ", ".join(f"{name} ({describe_type(kind)})" for name, kind in features.items())
    if wanted is not None:
        if wanted in features:
            return wanted
        raise UserError(f"There is no column {wanted!r} in {title}. It has: {columns}.")
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"Several columns of {title} can be the {role} column: {', '.join(found)}. Choose one "
            f"with {role}_column. All columns: {columns}."
        )
    hint = f"Name it with {role}_column"
    if role == "label":
        hint += (
            "; an image folder needs two or more classes, one folder for each, all equally deep. "
            "To predict on images without labels, give num_classes or label_names"
        )
    raise UserError(f"No {role} column found in {title}. It has: {columns}. {hint}.")


def check_label_names(source: Source, column: str) -> None:
    """Compare the names that each local parquet file declares for the label column.

    Args:
        source: The data set; nothing is checked where it is not made of local parquet files.
        column: Its label column.
    """
    expected = source.features[column]
    if not isinstance(expected, datasets.ClassLabel):
        return
    for split, files in source.parquet_files.items():
        for file in files:
            declared = datasets.Features.from_arrow_schema(pq.read_schema(file)).get(column)
            if isinstance(declared, datasets.ClassLabel) and declared.names != expected.names:
                raise UserError(
                    f"The label names of {source.title} differ: {file} (split {split!r}) has "
                    f"{declared.names}, the files before it have {expected.names}. Write all files "
                    "with the same names in the same order."
                )
