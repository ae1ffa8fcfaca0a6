"""Folders of JPEG files to time loaders with: made up, in ImageNet's size, or picked from a folder.

ImageNet's training images have 500 x 375 pixels and 110 kB on average. What decoding costs depends
on both, so a smooth picture gets as much fine noise as it takes to fill the file.
"""

import random
from pathlib import Path

import numpy as np
from PIL import Image

from kdna_zoo.data.sources.image_folder import FolderSplit, read_image_folder
from kdna_zoo.errors import UserError

SIZE = (500, 375)  # width and height, in pixels
NOISE = 24.0  # standard deviation of the fine noise, of 255: 110 kB at the quality below
QUALITY = 90
CLASSES = 2


def make_images(folder: Path, count: int, seed: int = 0) -> None:
    """Write images that all differ.

    Args:
        folder: Where to put ``train/CLASS/NAME.jpg``.
        count: Number of images.
        seed: Fixes what they show.
    """
    pixels = np.random.default_rng(seed)
    for index in range(count):
        place = folder / "train" / f"class{index % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = pixels.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC))
        noisy = smooth + NOISE * pixels.standard_normal(smooth.shape, dtype=np.float32)
        image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        image.save(place / f"{index:05}.jpg", quality=QUALITY)


def link_images(source: Path, folder: Path, count: int, seed: int = 0) -> int:
    """Link images of a folder, drawn at random, into another.

    Args:
        source: An image folder, of whose training split JPEG files are taken.
        folder: Where to put ``train/CLASS/NAME.jpg``.
        count: How many at most.
        seed: Fixes the choice.

    Returns:
        The number of images.
    """
    split = read_image_folder(source).splits.get("train", FolderSplit())
    found = zip(map(Path, split.paths), split.labels, strict=True)
    files = [(file, name) for file, name in found if file.suffix.lower() in (".jpg", ".jpeg")]
    if len({name for _, name in files}) < 2:
        raise UserError(
            f"{source} is no image folder to load from: it needs JPEG files in a folder for each "
            "of two classes or more, perhaps under train"
        )
    chosen = random.Random(seed).sample(files, min(count, len(files)))
    for index, (file, name) in enumerate(chosen):
        place = folder / "train" / name
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index:05}.jpg").symlink_to(file.absolute())
    return len(chosen)
