"""A data set with its image column, label column and classes settled: gives the rows of a split."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from kdna_zoo.data.classes import Classes, read_classes, read_labels, unlabelled_classes
from kdna_zoo.data.columns import (
    check_label_names,
    find_image_column,
    find_label_column,
    label_columns,
)
from kdna_zoo.data.decode import BadImages
from kdna_zoo.data.rows import ImageRows
from kdna_zoo.data.sources.source import Source
from kdna_zoo.data.splits import hold_out
from kdna_zoo.data.stream import ImageStream
from kdna_zoo.data.transforms import Transform


class LabelledImages:
    """The images of a data set and what their labels mean.

    Args:
        source: The data set.
        train_split: The training split, which knows the classes.
        image_column: The column of images; None: the only one of that type.
        label_column: The column of labels; None: the only one of that type.
        num_classes: Number of classes; None: as many as the data set has.
        label_names: Names of the classes, by index; None: what the data set says.
        learnt_names: Those that the network at hand has learnt; None: unknown.
    """

    def __init__(
        self,
        source: Source,
        train_split: str,
        image_column: str | None = None,
        label_column: str | None = None,
        num_classes: int | None = None,
        label_names: Sequence[str] | None = None,
        learnt_names: Sequence[str] | None = None,
    ) -> None:
        self.source = source
        self.train_split = train_split
        self._image_column = image_column
        self._label_column = label_column
        self._num_classes = num_classes
        self._label_names = label_names
        self._learnt_names = learnt_names

    @cached_property
    def image_column(self) -> str:
        """The column that holds the images."""
        return find_image_column(self.source.features, self._image_column, self.source.title)

    @cached_property
    def label_column(self) -> str:
        """The column that holds the labels."""
        found = find_label_column(self.source.features, self._label_column, self.source.title)
        check_label_names(self.source, found)
        return found

    @property
    def has_labels(self) -> bool:
        """Whether some column is, or may be, of labels."""
        return self._label_column is not None or bool(label_columns(self.source.features))

    @cached_property
    def classes(self) -> Classes:
        """The classes, by index."""
        if not self.has_labels and (names := self._label_names or self._learnt_names):
            return unlabelled_classes(names, self._num_classes)
        if not self.has_labels and self._num_classes:
            return unlabelled_classes(None, self._num_classes)
        return read_classes(
            self.source,
            self.label_column,
            self.train_split,
            self._num_classes,
            self._label_names,
            self._learnt_names,
        )

    def rows(
        self,
        split: str,
        transform: Transform,
        mode: str = "RGB",
        held_out: tuple[float, bool] | None = None,
        predict: bool = False,
        **options: Any,
    ) -> ImageRows:
        """Read a split and check its labels.

        Args:
            split: Its name, or a slice or sum of splits.
            transform: PIL image to tensor.
            mode: PIL mode that the transform gets, ``RGB`` or ``L``.
            held_out: Part of each class to hold out, and whether to give the rows held out rather
                than the others; None: all rows.
            predict: Whether the rows are to predict on: an example then ends with its row number,
                and a row without label has label -1.
            options: More arguments of `ImageRows`.
        """
        title = self.source.title
        images = self.source.read(split)
        labels: list[Any] = [None] * len(images)
        if self.has_labels or not predict:
            labels = read_labels(self.source, self.label_column, split)
        codes = self.classes.encode(labels, split, title, unlabelled=predict)
        if held_out is not None:
            fraction, held = held_out
            chosen = hold_out(codes, fraction)[held]
            codes, images = codes[chosen], images.select(chosen)
        return ImageRows(
            images,
            self.image_column,
            codes,
            transform,
            mode=mode,
            origin=f"split {split!r} of {title}",
            with_row=predict,
            **options,
        )

    def stream(self, split: str, transform: Transform, mode: str, bad: BadImages) -> ImageStream:
        """Open a split as a stream.

        Args:
            split: Its name, or several joined by ``+``.
            transform: PIL image to tensor.
            mode: PIL mode that the transform gets, ``RGB`` or ``L``.
            bad: What to do with images that cannot be read.
        """
        return ImageStream(
            self.source.stream(split),
            (self.image_column, self.label_column),
            self.classes,
            transform,
            mode=mode,
            split=split,
            title=self.source.title,
            images=self.source.count(split),
            bad=bad,
        )
