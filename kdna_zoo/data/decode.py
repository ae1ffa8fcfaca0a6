"""One encoded image to 8-bit RGB, upright; the same for grey, palette, CMYK and 16-bit files."""

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kdna_zoo.data.faults import UnreadableImageError

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # PIL opens some 16-bit files as I
ORIENTATION = 274  # EXIF tag: 1 or absent is upright


def decode_image(encoded: dict[str, Any] | None, mode: str = "RGB") -> Image.Image:
    """Decode one value of an image column.

    Args:
        encoded: What `datasets.Image(decode=False)` gives: ``bytes``, or the ``path`` of a file.
        mode: PIL mode of the result, ``RGB`` or ``L`` (grey).

    Returns:
        The image, upright. As in timm, an alpha channel is dropped.

    Raises:
        UnreadableImageError: with the reason; the caller knows where the image comes from.
    """
    if encoded is None or (encoded["bytes"] is None and encoded["path"] is None):
        raise UnreadableImageError("there is no image")
    file = encoded["path"] if encoded["bytes"] is None else io.BytesIO(encoded["bytes"])
    try:
        with Image.open(file) as image:
            image.load()
            if image.getexif().get(ORIENTATION, 1) != 1:
                image = ImageOps.exif_transpose(image)
            return _to_8_bit(image).convert(mode)
    except Exception as error:  # a broken file raises almost anything, struct.error included
        raise UnreadableImageError(_reason(error)) from error


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
