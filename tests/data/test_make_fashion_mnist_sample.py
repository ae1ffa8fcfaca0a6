"""The script that makes the embedded sample, on small idx files made here."""

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from kdna_zoo.data import ImageData
from kdna_zoo.data.make_fashion_mnist_sample import NAMES, main
from kdna_zoo.errors import UserError

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def write_idx(path: Path, array: Pixels) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Five random images of each class for training, three for test."""
    folder = tmp_path / "idx"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in {"train": 50, "t10k": 30}.items():
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.permutation(np.arange(count) % 10).astype(np.uint8)
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", labels)
    return folder


def make(source: Path, target: Path, train: int = 4, test: int = 2, seed: int = 0) -> Path:
    counts = ["--train-per-class", str(train), "--test-per-class", str(test)]
    main(["--source", str(source), "--to", str(target), "--seed", str(seed), *counts])
    return target


def images_and_labels(source: Path, split: str) -> list[tuple[bytes, int]]:
    images = gzip.decompress((source / f"{split}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((source / f"{split}-labels-idx1-ubyte.gz").read_bytes())[8:]
    return [(images[784 * row : 784 * (row + 1)], label) for row, label in enumerate(labels)]


def test_sample_is_balanced_and_its_pixels_are_those_of_the_source(
    source: Path, tmp_path: Path
) -> None:
    made = datasets.load_dataset(str(make(source, tmp_path / "made")))
    assert set(made) == {"train", "test"}
    for split, idx, per_class in (("train", "train", 4), ("test", "t10k", 2)):
        rows = made[split]
        assert rows.features == {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(NAMES)),
        }
        assert Counter(rows["label"]) == dict.fromkeys(range(10), per_class)
        assert list(rows["label"]) != sorted(rows["label"])
        pairs = [(row["image"].tobytes(), row["label"]) for row in rows]
        assert len(set(pairs)) == len(pairs)
        assert set(pairs) <= set(images_and_labels(source, idx))


def test_same_bytes_again_and_others_with_another_seed(source: Path, tmp_path: Path) -> None:
    first, again = make(source, tmp_path / "1"), make(source, tmp_path / "2")
    other = make(source, tmp_path / "3", seed=1)
    for name in ("train.parquet", "test.parquet"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
        assert (first / name).read_bytes() != (other / name).read_bytes()


def test_data_module_reads_it(source: Path, tmp_path: Path) -> None:
    described = ImageData(str(make(source, tmp_path / "made"))).describe()
    assert described["train"] == {"split": "train", "images": 40}


def test_full_is_the_sample_of_every_image_in_its_order(source: Path, tmp_path: Path) -> None:
    sample, full = make(source, tmp_path / "sample", train=5, test=3), tmp_path / "full"
    main(["--source", str(source), "--to", str(full), "--full"])
    for name in ("train.parquet", "test.parquet"):
        assert (full / name).read_bytes() == (sample / name).read_bytes()
    made = datasets.load_dataset(str(full))
    for split, idx in (("train", "train"), ("test", "t10k")):
        pairs = [(row["image"].tobytes(), row["label"]) for row in made[split]]
        assert sorted(pairs) == sorted(images_and_labels(source, idx))
    assert not (sample / "README.md").exists()


def test_full_takes_every_image_of_uneven_classes(source: Path, tmp_path: Path) -> None:
    labels = np.array([0] * 12 + [*range(1, 10)] * 2, dtype=np.uint8)
    write_idx(source / "t10k-labels-idx1-ubyte.gz", labels)
    main(["--source", str(source), "--to", str(tmp_path / "full"), "--full"])
    test = pq.read_table(tmp_path / "full" / "test.parquet")
    assert Counter(test["label"].to_pylist()) == Counter(labels.tolist())


def test_full_says_what_it_is(source: Path, tmp_path: Path) -> None:
    args = ["--source", str(source), "--to", str(tmp_path / "full"), "--full"]
    main(args)
    described = ImageData(str(tmp_path / "full")).describe()
    assert described["name"] == "Fashion-MNIST"
    assert described["license"] == "mit"
    assert described["sources"] == ["zalando-datasets/fashion_mnist"]
    assert described["train"] == {"split": "train", "images": 50}
    readme = tmp_path / "full" / "README.md"
    assert "| train | 50 |\n| test | 30 |\n" in readme.read_text(encoding="utf-8")
    readme.write_text("mine", encoding="utf-8")
    main(args)
    assert readme.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("option", ["--train-per-class", "--test-per-class"])
def test_full_and_a_number_of_images(option: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--full takes every image: leave --train-per-class and"):
        main(["--source", str(source), "--to", str(tmp_path / "full"), "--full", option, "5"])
    assert not (tmp_path / "full").exists()


def test_too_few_images(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"6 images a class asked for, there are \[5, 5, 5"):
        make(source, tmp_path / "made", train=6)


def test_no_idx_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is not there\. Install the"):
        make(tmp_path, tmp_path / "made")


def test_broken_idx_files(source: Path, tmp_path: Path) -> None:
    file = source / "train-images-idx3-ubyte.gz"
    whole = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(whole[:-1]))
    with pytest.raises(UserError, match=r"is incomplete: its header announces \[50, 28, 28\]"):
        make(source, tmp_path / "made")
    file.write_bytes(gzip.compress(b"\x00\x00\x0d" + whole[3:]))
    with pytest.raises(UserError, match="is no idx file of unsigned bytes"):
        make(source, tmp_path / "made")
