"""Makes the embedded data: a class-balanced sample of Fashion-MNIST as two parquet files.

Reads the four idx files of the Debian package ``dataset-fashion-mnist`` (Xiao, Rasul and Vollgraf,
arXiv 1708.07747; MIT licence) and writes ``train.parquet`` and ``test.parquet`` as Hugging Face
``datasets`` reads them: lossless PNG images and class labels that carry their names. The sample is
drawn and shuffled with a fixed seed, so a rerun writes the same bytes.

    python -m kdna_zoo.data.make_fashion_mnist_sample --to kdna_zoo/data/fashion_mnist_sample
"""

import argparse
import gzip
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from kdna_zoo.errors import UserError

NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SOURCE = Path("/usr/share/datasets/fashion-mnist")
FEATURES = datasets.Features(
    {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
)
SPLITS = {"train": "train", "test": "t10k"}  # split of the sample -> beginning of the idx names
IDX_UINT8 = b"\x00\x00\x08"  # magic bytes of an idx file that holds unsigned bytes


def read_idx(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read one gzipped idx file of unsigned bytes.

    Args:
        path: The file; its header gives the number of dimensions and their sizes, big-endian.

    Returns:
        The array with the shape that the header gives.
    """
    if not path.is_file():
        raise UserError(
            f"{path} is not there. Install the Debian package dataset-fashion-mnist, or give the "
            "folder with its four idx files as --source."
        )
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != IDX_UINT8:
        raise UserError(f"{path} is no idx file of unsigned bytes.")
    start = 4 + 4 * raw[3]
    shape = np.frombuffer(raw[4:start], dtype=">u4")
    if len(raw) - start != math.prod(shape.tolist()):
        raise UserError(f"{path} is incomplete: its header announces {shape.tolist()}.")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def balanced_sample(
    labels: np.ndarray[Any, np.dtype[np.uint8]], per_class: int, rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Draw the same number of rows from each class.

    Args:
        labels: The class of each row.
        per_class: Rows drawn from each class.
        rng: Where the draw and the order come from.

    Returns:
        Row numbers in random order.
    """
    counts = np.bincount(labels, minlength=len(NAMES))
    if counts.min() < per_class:
        raise UserError(f"{per_class} images a class asked for, there are {counts.tolist()}.")
    rows = [rng.choice(np.flatnonzero(labels == c), per_class, False) for c in range(len(NAMES))]
    return rng.permutation(np.concatenate(rows))


def write_split(source: Path, split: str, per_class: int, seed: int, target: Path) -> None:
    """Write one split of the sample.

    Args:
        source: Folder with the idx files.
        split: ``train`` or ``test``.
        per_class: Images of each class.
        seed: Seed of the draw.
        target: The parquet file to write.
    """
    images = read_idx(source / f"{SPLITS[split]}-images-idx3-ubyte.gz")
    labels = read_idx(source / f"{SPLITS[split]}-labels-idx1-ubyte.gz")
    rows = balanced_sample(labels, per_class, np.random.default_rng(seed))
    columns = {
        "image": [{"bytes": encode_png(images[row]), "path": None} for row in rows],
        "label": [int(labels[row]) for row in rows],
    }
    table = pa.table(columns, schema=FEATURES.arrow_schema)
    pq.write_table(table, target, compression="zstd", compression_level=19)


def encode_png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Encode one grey image (H, W) losslessly."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def main(args: Sequence[str] | None = None) -> None:
    """Read the command line and write both splits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder with the idx files")
    parser.add_argument("--to", type=Path, required=True, help="folder to write into")
    parser.add_argument("--train-per-class", type=int, default=600)
    parser.add_argument("--test-per-class", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(args)
    given.to.mkdir(parents=True, exist_ok=True)
    counts = {"train": given.train_per_class, "test": given.test_per_class}
    for split, per_class in counts.items():
        write_split(given.source, split, per_class, given.seed, given.to / f"{split}.parquet")


if __name__ == "__main__":
    main()
