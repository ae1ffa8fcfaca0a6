"""One encoded image to 8-bit RGB, upright; the same for grey, palette, CMYK and 16-bit files."""

import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from kdna_zoo.errors import RunError, UserError

log = logging.getLogger(__name__)


class _WorkerError(Exception):
    """Keeps its message short on the way out of a worker process.

    A worker hands its error over as text that ends in the class's name and message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[-1].strip())


class UnreadableImageError(_WorkerError, UserError):
    """An image cannot be decoded: the message names its file or row, split and data set."""


class LabelError(_WorkerError, UserError):
    """A label of a stream cannot be used: the message names it and what is allowed."""


class StreamError(_WorkerError, RunError):
    """A stream broke off: the message says where, and how to go on."""


class BadImages:
    """What to do with images that cannot be read, and how many there were.

    The count is kept in shared memory, so that it is of all workers of this rank.

    Args:
        slots: Rows of the data set, or workers of a stream; each is counted for itself.
        skip: Whether to leave such images out rather than to end the run.
        limit: How many to leave out at most, on each rank; one more ends the run.
    """

    def __init__(self, slots: int, skip: bool = False, limit: int = 100) -> None:
        counts = torch.zeros(slots, dtype=torch.int32)
        self._counts: Tensor = counts.share_memory_()  # type: ignore[no-untyped-call]
        self.skip = skip
        self.limit = limit

    @property
    def count(self) -> int:
        """How many there were so far."""
        return int(self._counts.sum())

    def known(self, slot: int) -> bool:
        """Whether there was one in a slot."""
        return bool(self._counts[slot])

    def note(self, slot: int, number: int, error: UnreadableImageError) -> None:
        """Count an image, or end the run.

        Args:
            slot: Its row, or the worker that read it.
            number: How many this slot has had with it.
            error: What is wrong with it.

        Raises:
            UnreadableImageError: It is not to be left out, or one too many.
        """
        if not self.skip:
            raise error
        if self._counts[slot] >= number:
            return  # known from an epoch before
        self._counts[slot] = number
        if self.count > self.limit:
            raise UnreadableImageError(
                f"{error} It is one more than bad_image_limit = {self.limit} allows to skip."
            ) from error
        log.warning("Skipped: %s (%d so far)", error, self.count)


log = logging.getLogger(__name__)
_said: set[str] = set()

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # PIL opens some 16-bit files as I
SAID_AT_MOST = 10  # warnings, in each process
ORIENTATION = 274  # EXIF tag: 1 or absent is upright


def decode_image(
    encoded: dict[str, Any] | None,
    mode: str = "RGB",
    tell_doubt: Callable[[str], None] | None = None,
) -> Image.Image:
    """Decode one value of an image column.

    Args:
        encoded: What `datasets.Image(decode=False)` gives: ``bytes``, or the ``path`` of a file.
        mode: PIL mode of the result, ``RGB`` or ``L`` (grey).
        tell_doubt: Takes what Pillow warns of, with the image's name; None: it is logged.

    Returns:
        The image, upright. As in timm, an alpha channel is dropped.

    Raises:
        UnreadableImageError: with the reason; the caller knows where the image comes from.
    """
    if encoded is None or (encoded["bytes"] is None and encoded["path"] is None):
        raise UnreadableImageError("there is no image")
    file = encoded["path"] if encoded["bytes"] is None else io.BytesIO(encoded["bytes"])
    try:
        with warnings.catch_warnings(record=True) as doubts, Image.open(file) as image:
            warnings.simplefilter("always", UserWarning)
            warnings.simplefilter("always", RuntimeWarning)  # DecompressionBombWarning
            image.load()
            if image.getexif().get(ORIENTATION, 1) != 1:
                image = ImageOps.exif_transpose(image)
            upright = _to_8_bit(image).convert(mode)
        for doubt in doubts:
            said = " ".join(str(doubt.message).split())
            (tell_doubt or _log)(f"{encoded['path'] or 'an image'}: {said}")
        return upright
    except Exception as error:  # a broken file raises almost anything, struct.error included
        raise UnreadableImageError(_reason(error)) from error


def _log(doubt: str) -> None:
    """Log what Pillow warns of, each once, and only the first few: there may be a million files."""
    if doubt in _said or len(_said) > SAID_AT_MOST:
        return
    _said.add(doubt)
    log.warning(doubt if len(_said) <= SAID_AT_MOST else "more images with warnings are not listed")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16 bits to 8 (`convert` would clip); leave 8-bit images as they are."""
    if image.mode in SIXTEEN_BITS:
        scaled = np.rint(np.asarray(image, dtype=np.float32) / 257)  # 65535 / 257 = 255
        return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")  # the detour that PIL asks for in a warning
    return image


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is not there"
    if isinstance(error, UnidentifiedImageError):
        return "it is no image that PIL knows"
    return str(error) or type(error).__name__
