"""Holding images out of the training split, and numbers that cannot be."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest

from kdna_zoo.data import ImageData
from kdna_zoo.data.rows import ImageRows
from kdna_zoo.errors import UserError
from tests.data.conftest import write_folder, write_parquet


def rows_of(data: ImageData, role: str) -> ImageRows:
    rows = data._images_of(role)
    assert isinstance(rows, ImageRows)
    return rows


def test_hold_out_is_of_each_class_alike_and_always_the_same(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", {"train": {"ant": 20, "bee": 10, "cow": 1}})
    first, second = (
        ImageData(str(folder), val_fraction=0.2, input_size=(3, 8, 8)) for _ in range(2)
    )
    for data in (first, second):
        data.setup("fit")
    train, val = (rows_of(first, role).labels for role in ("train", "val"))
    assert np.bincount(train).tolist() == [16, 8, 1]
    assert np.bincount(val, minlength=3).tolist() == [4, 2, 0]
    ours, theirs = (rows_of(data, "val") for data in (first, second))
    assert all((ours[i][0] == theirs[i][0]).all() for i in range(len(ours)))
    assert first.describe()["val"] == {"split": "train (held out)", "images": 6}


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"num_workers": -1}, "num_workers must be at least 0, got -1"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"val_fraction": 1.0}, "val_fraction must be above 0 and below 1, got 1.0"),
    ],
)
def test_numbers_that_cannot_be(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImageData(**numbers)


def test_describes_only_what_is_used(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1, 0, 1])
    write_parquet(tmp_path / "test.parquet", [-1, -1])
    data = ImageData(str(tmp_path), input_size=(3, 8, 8))
    data.trainer = pl.Trainer(limit_val_batches=0, logger=False, accelerator="cpu")
    data.setup("fit")
    assert data.describe()["val"] is None
    assert data.describe()["train"]["images"] == 4
