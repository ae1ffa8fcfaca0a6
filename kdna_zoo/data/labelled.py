"""A data set with its image column, label column and classes settled: gives the rows of a split."""

from functools import cached_property

from kdna_zoo.data.classes import Classes, read_classes, read_labels
from kdna_zoo.data.columns import find_image_column, find_label_column
from kdna_zoo.data.holdout import hold_out
from kdna_zoo.data.loading import Source
from kdna_zoo.data.names import check_label_names
from kdna_zoo.data.rows import ImageRows
from kdna_zoo.data.transforms import Transform


class LabelledImages:
    """The images of a data set and what their labels mean.

    Args:
        source: The data set.
        train_split: The training split, which knows the classes.
        image_column: The column of images; None: the only one of that type.
        label_column: The column of labels; None: the only one of that type.
        num_classes: Number of classes; None: as many as the data set has.
    """

    def __init__(
        self,
        source: Source,
        train_split: str,
        image_column: str | None = None,
        label_column: str | None = None,
        num_classes: int | None = None,
    ) -> None:
        self.source = source
        self.train_split = train_split
        self._image_column = image_column
        self._label_column = label_column
        self._num_classes = num_classes

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

    @cached_property
    def classes(self) -> Classes:
        """The classes, by index."""
        return read_classes(self.source, self.label_column, self.train_split, self._num_classes)

    def rows(
        self,
        split: str,
        transform: Transform,
        mode: str = "RGB",
        held_out: tuple[float, bool] | None = None,
        predict: bool = False,
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
        """
        title = self.source.title
        labels = read_labels(self.source, self.label_column, split)
        codes = self.classes.encode(labels, split, title, unlabelled=predict)
        images = self.source.read(split)
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
        )
