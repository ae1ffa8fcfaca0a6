"""The images and labels of one split as a PyTorch data set; decodes where the worker runs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import datasets
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from kdna_zoo.data.decode import BadImages, UnreadableImageError, decode_image

IDS = ("id", "image_id", "file_name", "filename")  # columns that tell images apart
Example: TypeAlias = tuple[Tensor | int, ...]


class ImageRows(Dataset[Example]):
    """Examples ``(image, label)``, or ``(image, label, row)``.

    The image column is read undecoded, a whole batch at once, and decoded here, so that a broken
    file is reported with its name.

    Args:
        rows: One split, with an image column.
        column: Name of the image column.
        labels: Class index of each row, int64.
        transform: PIL image to tensor.
        mode: PIL mode that the transform gets, ``RGB`` or ``L``.
        origin: Split and data set in words, for messages.
        with_row: Whether an example ends with its row number.
        skip_bad: Whether to do without images that cannot be read, rather than end the run.
        bad_limit: How many of those to do without at most.
        repeats: How often training draws a row in a row.
        fill_up: Whether the next image takes the place of one that is skipped, so that batches
            stay full; else it is left out, so that no image counts twice.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        column: str,
        labels: NDArray[np.int64],
        transform: Callable[[Image.Image], Tensor],
        mode: str = "RGB",
        origin: str = "the data set",
        with_row: bool = False,
        skip_bad: bool = False,
        bad_limit: int = 100,
        fill_up: bool = False,
        repeats: int = 1,
    ) -> None:
        self._ids = next((rows[name] for name in IDS if name in rows.column_names), None)
        encoded = rows.select_columns(column).cast_column(column, datasets.Image(decode=False))
        self.encoded = encoded.with_format("arrow")  # twice as fast as Python rows
        self.labels = labels
        self.transform = transform
        self.mode = mode
        self.origin = origin
        self.with_row = with_row
        self.bad = BadImages(len(labels), skip_bad, bad_limit)
        self.fill_up = fill_up
        self.repeats = repeats

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Example:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Example]:
        """Read a batch at once; the DataLoader calls this."""
        return self.readable(rows, self.examples(rows))

    def examples(self, rows: Sequence[int]) -> Iterator[Example | None]:
        """Read a batch at once, and decode and transform each image when it is asked for."""
        encoded = self.encoded[list(rows)].column(0).to_pylist()
        return (self._example(row, image) for row, image in zip(rows, encoded, strict=True))

    def readable(self, rows: Sequence[int], examples: Iterable[Example | None]) -> list[Example]:
        """Leave out the images that were skipped; at least one is left."""
        readable = [example for example in examples if example is not None]
        if not readable:
            raise UnreadableImageError(
                f"No image of rows {', '.join(map(str, rows))} of {self.origin} can be read, "
                "which leaves nothing of a batch. Repair them, or take them out of the data set."
            )
        return readable

    def file_names(self, rows: Sequence[int]) -> list[str]:
        """Return the file of each row, or its id where the data set has one; else ''."""
        paths = self.encoded[list(rows)].column(0).combine_chunks().field("path").to_pylist()
        ids = [""] * len(paths) if self._ids is None else [self._ids[row] for row in rows]
        return [str(path or other) for path, other in zip(paths, ids, strict=True)]

    def image(self, row: int) -> Image.Image:
        """Return the image of a row as it is, before the transform."""
        return self._decode(row, self.encoded[[row]].column(0).to_pylist()[0])

    def _example(self, row: int, encoded: dict[str, Any] | None) -> Example | None:
        try:
            image = self.transform(self._decode(row, encoded))
        except UnreadableImageError as error:
            self.bad.note(row, 1, error)
            return self._next_example(row) if self.fill_up else None
        label = int(self.labels[row])
        return (image, label, row) if self.with_row else (image, label)

    def _next_example(self, row: int) -> Example | None:
        """Give the first example after a row whose image is not known to be bad."""
        for number in range(row + 1, row + len(self)):
            other = number % len(self)
            if not self.bad.known(other):
                return self._example(other, self.encoded[[other]].column(0).to_pylist()[0])
        return None

    def _decode(self, row: int, encoded: dict[str, Any] | None) -> Image.Image:
        try:
            return decode_image(encoded, self.mode)
        except UnreadableImageError as error:
            path = encoded["path"] if encoded else None
            file = f" ({path})" if path else ""
            raise UnreadableImageError(
                f"The image of row {row}{file} of {self.origin} cannot be read: {error}. "
                "Repair it, take it out of the data set, or set on_bad_image to skip."
            ) from error
