"""Makes the embedded data, a class-balanced sample of Fashion-MNIST, or the whole as such files.

Reads the four idx files of the Debian package ``dataset-fashion-mnist`` (Xiao, Rasul and Vollgraf,
arXiv 1708.07747; MIT licence) and writes ``train.parquet`` and ``test.parquet`` as Hugging Face
``datasets`` reads them: lossless PNG images and class labels that carry their names. The sample is
drawn and shuffled with a fixed seed, so a rerun writes the same bytes.

    python -m kdna_zoo.data.make_fashion_mnist_sample --to kdna_zoo/data/fashion_mnist_sample

With ``--full`` it takes every image, as a sample of the size of the whole would, in the same order,
and writes a README.md that says what the folder is, where there is none:

    python -m kdna_zoo.data.make_fashion_mnist_sample --full --to fashion_mnist
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
SAMPLE = {"train": 600, "test": 100}  # images of each class in the embedded sample
IDX_UINT8 = b"\x00\x00\x08"  # magic bytes of an idx file that holds unsigned bytes

README = """\
---
pretty_name: Fashion-MNIST
license: mit
task_categories:
- image-classification
task_ids:
- multi-class-image-classification
size_categories:
- 10K<n<100K
source_datasets:
- zalando-datasets/fashion_mnist
configs:
- config_name: default
  data_files:
  - split: train
    path: train.parquet
  - split: test
    path: test.parquet
---

# Fashion-MNIST

[Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist) (Xiao, Rasul and Vollgraf, arXiv
1708.07747) in full, made from its four idx files by

    python -m kdna_zoo.data.make_fashion_mnist_sample --full --seed {seed} --to FOLDER

| split | images |
|---|---|
| train | {train:,} |
| test | {test:,} |

Columns: `image` (28 x 28, grey, PNG; pixels bit for bit) and `label`, with the names {names} (0 to
9). The rows are shuffled with seed {seed}.

MIT licence, Copyright (c) 2017 Zalando SE.
"""


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
    labels: np.ndarray[Any, np.dtype[np.uint8]], per_class: int | None, rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Draw the same number of rows from each class.

    Args:
        labels: The class of each row.
        per_class: Rows drawn from each class; None: all that it has.
        rng: Where the draw and the order come from.

    Returns:
        Row numbers in random order.
    """
    counts = np.bincount(labels, minlength=len(NAMES))
    if per_class is not None and counts.min() < per_class:
        raise UserError(f"{per_class} images a class asked for, there are {counts.tolist()}.")
    sizes = counts if per_class is None else [per_class] * len(NAMES)
    rows = [rng.choice(np.flatnonzero(labels == c), sizes[c], False) for c in range(len(NAMES))]
    return rng.permutation(np.concatenate(rows))


def write_split(source: Path, split: str, per_class: int | None, seed: int, target: Path) -> int:
    """Write one split of the sample.

    Args:
        source: Folder with the idx files.
        split: ``train`` or ``test``.
        per_class: Images of each class; None: all.
        seed: Seed of the draw.
        target: The parquet file to write.

    Returns:
        The number of images.
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
    return len(rows)


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
    parser.add_argument("--full", action="store_true", help="take every image, and say so")
    parser.add_argument("--train-per-class", type=int, help="(default: 600)")
    parser.add_argument("--test-per-class", type=int, help="(default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(args)
    asked = {"train": given.train_per_class, "test": given.test_per_class}
    if given.full and any(per_class is not None for per_class in asked.values()):
        raise UserError(
            "--full takes every image: leave --train-per-class and --test-per-class away"
        )
    given.to.mkdir(parents=True, exist_ok=True)
    images = {}
    for split, per_class in asked.items():
        if per_class is None and not given.full:
            per_class = SAMPLE[split]
        target = given.to / f"{split}.parquet"
        images[split] = write_split(given.source, split, per_class, given.seed, target)
    readme = given.to / "README.md"
    if given.full and not readme.exists():
        text = README.format(**images, names=", ".join(NAMES), seed=given.seed)
        readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
