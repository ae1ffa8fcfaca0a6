"""The split of each parquet file of a folder."""

from pathlib import Path

import pytest

from kdna_zoo.data import ImageData
from kdna_zoo.errors import UserError
from tests.data.conftest import write_folder, write_parquet


def test_parquet_splits_in_any_case(tmp_path: Path) -> None:
    write_parquet(tmp_path / "Train" / "part0.parquet", [0, 1, 1])
    write_parquet(tmp_path / "TEST" / "train-like.parquet", [0])
    data = ImageData(str(tmp_path))
    assert data.describe()["train"] == {"split": "train", "images": 3}
    assert data.describe()["val"] == {"split": "test", "images": 1}
    assert data.label_names == ["cat", "dog"]


def test_a_parquet_file_of_no_split_beside_others(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", [0, 1])
    write_parquet(tmp_path / "more.parquet", [0])
    said = ImageData(str(tmp_path)).source.describe()
    assert f"1 parquet file without a split in its name (as {tmp_path}/more.parquet)" in said
    write_parquet(tmp_path / "train_test.parquet", [0])
    with pytest.raises(UserError, match=r"train_test\.parquet may be of the splits test and train"):
        ImageData(str(tmp_path)).prepare_data()


def test_images_and_parquet_files_in_one_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": {"a": 1, "b": 1}})
    write_parquet(root / "embeddings.parquet", [0, 1])
    with pytest.raises(UserError, match=r"is both: .*\(.*embeddings\.parquet\)\. Give the folder"):
        ImageData(str(root)).prepare_data()
    (root / "embeddings.parquet").rename(root / "metadata.parquet")
    assert ImageData(str(root)).describe()["train"]["images"] == 2
