"""The classes of a data set, and its label column as checked class indices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from kdna_zoo.data.sources.source import Source
from kdna_zoo.errors import UserError


@dataclass(frozen=True)
class Classes:
    """What the class indices stand for.

    Attributes:
        names: The name of each class, by index.
        values: The column's values by class index; None: the column holds the indices themselves.
    """

    names: list[str]
    values: list[Any] | None = None

    def encode(
        self,
        column: Sequence[Any],
        split: str,
        title: str,
        unlabelled: bool = False,
        first: int = 0,
    ) -> NDArray[np.int64]:
        """Turn a label column into class indices and check each of them.

        Args:
            column: The labels as stored.
            split: The split they are from.
            title: The data set in words, for messages.
            unlabelled: Whether rows without a label, or with one that is no class, may pass, as -1.
            first: Number of the first row, for messages.

        Returns:
            Class indices, int64.
        """
        index = None if self.values is None else {v: i for i, v in enumerate(self.values)}
        indices = np.empty(len(column), dtype=np.int64)
        for row, label in enumerate(column, first):
            code = label if index is None else index.get(label)
            if unlabelled and (code is None or label == -1):
                code = -1
            elif label is None:
                raise _refusal(row, split, title, "no label", self._allowed())
            elif code is None or not 0 <= code < len(self.names):
                raise _refusal(row, split, title, f"the label {label!r}", self._allowed())
            indices[row - first] = code
        return indices

    def _allowed(self) -> str:
        if self.values is None:
            return (
                f"The {len(self.names)} classes allow 0 to {len(self.names) - 1} (-1 marks a row "
                "without label, as in many test splits; choose a labelled split)."
            )
        shown = ", ".join(map(repr, self.values[:20])) + (", ..." if len(self.values) > 20 else "")
        return f"The classes, from the training split, are {shown}."


def read_classes(
    source: Source,
    column: str,
    train_split: str,
    num_classes: int | None,
    label_names: Sequence[str] | None = None,
    learnt_names: Sequence[str] | None = None,
) -> Classes:
    """Find out what the classes are.

    A `ClassLabel` column names them. The distinct values of the training split, sorted, are the
    classes of a string or boolean column, and of an integer column where `num_classes` is not
    given; with it, integers are class indices as they stand.

    Args:
        source: The data set.
        column: Its label column.
        train_split: The training split; of ``train[:90%]`` the whole ``train`` is looked at.
        num_classes: The number of classes that the user wants; None: as many as there are.
        label_names: The names of the classes, by index, which a string column holds as its values;
            None: find them out.
        learnt_names: The classes that the network at hand has learnt. Where the values found are
            among them, they are the classes, in their order; None: unknown.

    Returns:
        The classes; where `num_classes` exceeds the names, its index is the name of a class.
    """
    kind = source.features[column]
    if label_names is not None:
        return _given(source, column, list(label_names), num_classes)
    if isinstance(kind, datasets.ClassLabel):
        names = _resized(list(kind.names), num_classes)
        return Classes(names)
    if num_classes is not None and kind.dtype.startswith(("int", "uint")):
        return Classes(_resized([], num_classes))
    values: list[Any] | None = source.class_names(source.whole(train_split))
    if values is None and source.streaming:
        raise UserError(
            f"Column {column!r} of {source.title} does not declare its classes, and a stream is "
            "not read twice to find them: give label_names, or num_classes for a column of "
            "class indices."
        )
    if values is None:
        values = _distinct(source, column, train_split)
    if num_classes is not None and len(values) > num_classes:
        raise UserError(
            f"Column {column!r} of {source.title} has {len(values)} distinct labels, more than "
            f"num_classes = {num_classes}."
        )
    if learnt_names and {*values} <= {*learnt_names}:
        return Classes(_resized(list(learnt_names), num_classes), list(learnt_names))
    names = _resized([str(value) for value in values], num_classes)
    return Classes(names, None if values == list(range(len(values))) else values)


def unlabelled_classes(names: Sequence[str] | None, num_classes: int | None) -> Classes:
    """Make the classes that the user gives for a data set without labels."""
    return Classes(_resized(list(names or []), num_classes))


def read_labels(source: Source, column: str, split: str) -> list[Any]:
    """Read the label column of one split as it is stored."""
    labels: list[Any] = source.read(split).with_format("arrow")[:].column(column).to_pylist()
    return labels


def _distinct(source: Source, column: str, train_split: str) -> list[Any]:
    found = set(read_labels(source, column, source.whole(train_split))) - {None}
    return sorted(value for value in found if isinstance(value, str) or value >= 0)


def _given(source: Source, column: str, names: list[str], num_classes: int | None) -> Classes:
    """Classes that the user names."""
    kind = source.features[column]
    if isinstance(kind, datasets.ClassLabel) and kind.names != names:
        raise UserError(
            f"Column {column!r} of {source.title} declares its own label names; leave label_names "
            f"out, or give the same ones: {', '.join(kind.names)}."
        )
    if len(set(names)) < len(names):
        raise UserError(f"label_names has a name twice: {', '.join(names)}")
    text = isinstance(kind, datasets.Value) and "string" in kind.dtype
    return Classes(_resized(names, num_classes), names if text else None)


def _resized(names: list[str], num_classes: int | None) -> list[str]:
    if num_classes is None:
        return names
    return names[:num_classes] + [str(index) for index in range(len(names), num_classes)]


def _refusal(row: int, split: str, title: str, what: str, allowed: str) -> UserError:
    return UserError(f"Row {row} of split {split!r} of {title} has {what}. {allowed}")
