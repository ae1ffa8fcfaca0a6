"""Labels from a file beside the images, where they are asked for."""

from pathlib import Path

import pytest

from kdna_zoo.data import ImageData
from kdna_zoo.errors import UserError
from tests.data.conftest import write_folder


def test_labels_of_a_side_file_where_they_are_asked_for(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": {"x": 2, "y": 1}, "val": {"x": 1, "y": 1}})
    (root / "train" / "metadata.csv").write_text(
        "file_name,breed,weight\nx/0.png,tabby,2.5\nx/1.jpg,poodle,3\ny/9.png,poodle,3\n"
    )
    (root / "metadata.jsonl").write_text(
        '{"file_name": "val/x/0.png", "breed": "tabby"}\n'
        '{"file_name": "val/y/0.png", "breed": "poodle"}\n'
    )
    data = ImageData(str(root), label_column="breed")
    assert data.label_names == ["poodle", "tabby"]
    assert data.train_dataloader().dataset.rows.labels.tolist() == [1, 0]  # type: ignore[attr-defined]
    assert data.val_dataloader().dataset.labels.tolist() == [1, 0]  # type: ignore[attr-defined]
    said = data.source.describe()
    assert "train 2 images of 2 classes, 1 each; validation 2 images" in said
    assert f"1 image that no side file lists (as {root}/train/y/0.png)" in said
    assert f"1 listed image that is not there (as {root}/train/y/9.png)" in said
    assert "csv" not in said
    assert ImageData(str(root)).label_names == ["x", "y"]
    with pytest.raises(UserError, match=r"There is no column 'age' in .*It has: file_name, breed"):
        _ = ImageData(str(root), label_column="age").num_classes


def test_a_label_column_without_a_side_file(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": {"a": 1, "b": 1}})
    with pytest.raises(UserError, match=r"label_column 'breed': the classes .*has no metadata\.cs"):
        _ = ImageData(str(root), label_column="breed").num_classes
    assert ImageData(str(root), label_column="label").label_names == ["a", "b"]
