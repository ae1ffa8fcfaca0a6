"""Finding columns, and turning labels of every kind into class indices."""

from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Value

from kdna_zoo.data import ImageData
from kdna_zoo.errors import UserError
from tests.data.conftest import picture, write_folder, write_parquet


def labels_of(data: ImageData, split: str = "train") -> list[int]:
    loader = {"train": data.train_dataloader, "val": data.val_dataloader}[split]()
    return [int(label) for label in loader.dataset.labels]  # type: ignore[attr-defined]


def test_image_and_label_column_are_found_by_type(tmp_path: Path) -> None:
    more = {"note": (Value("string"), ["a", "b"]), "size": (Value("int32"), [1, 2])}
    data = ImageData(str(write_parquet(tmp_path / "p.parquet", [1, 0], column="animal", **more)))
    assert (data.images.image_column, data.images.label_column) == ("image", "animal")
    assert labels_of(data) == [1, 0]


def test_several_label_columns(tmp_path: Path) -> None:
    kinds = ClassLabel(names=["tabby", "poodle", "beagle"])
    file = write_parquet(tmp_path / "p.parquet", [0, 1], breed=(kinds, [0, 2]))
    with pytest.raises(
        UserError,
        match=r"Several columns of .*: label, breed\. Choose one with label_column\. All columns: "
        r"image \(Image\), label \(ClassLabel of 2\), breed \(ClassLabel of 3\)",
    ):
        _ = ImageData(str(file)).num_classes
    assert ImageData(str(file), label_column="breed").label_names == kinds.names


def test_no_label_column(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": {"one": 2}})
    with pytest.raises(
        UserError, match=r"No label column found in .*It has: image \(Image\)\. .*folder for each"
    ):
        _ = ImageData(str(tmp_path)).num_classes


def test_no_image_column(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"url": ["a", "b"], "label": [0, 1]}).to_parquet(
        tmp_path / "p.parquet"
    )
    data = ImageData(str(tmp_path / "p.parquet"), label_column="label", val_split="train")
    with pytest.raises(
        UserError, match=r"No image column found in .*It has: url \(string\), label \(int64\)\."
    ):
        data.setup("fit")


@pytest.mark.parametrize("argument", ["image_column", "label_column"])
def test_column_that_is_not_there(tmp_path: Path, argument: str) -> None:
    file = write_parquet(tmp_path / "p.parquet", [0, 1])
    data = ImageData(str(file), val_split="train", **{argument: "x"})
    with pytest.raises(UserError, match=r"There is no column 'x' in .*It has: image \(Image\), la"):
        data.setup("fit")


def test_columns_of_another_type(tmp_path: Path) -> None:
    score = (Value("float32"), [0.5, 1.5])
    file = str(write_parquet(tmp_path / "p.parquet", [0, 1], score=score))
    with pytest.raises(UserError, match=r"'score' of .* is of type float32; labels are "):
        _ = ImageData(file, label_column="score").num_classes
    with pytest.raises(UserError, match=r"'score' of .* is of type float32; images are of type Im"):
        _ = ImageData(file, image_column="score").images.image_column


def test_images_as_plain_bytes(tmp_path: Path) -> None:
    encoded = [b"\x89PNG 1", b"\x89PNG 2"]
    columns = {"picture": encoded, "label": ["a", "b"]}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "p.parquet")
    data = ImageData(str(tmp_path / "p.parquet"), image_column="picture", val_split="train")
    data.setup("fit")
    assert data.label_names == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "labels", "names", "indices"),
    [
        (Value("string"), ["dog", "cat", "dog"], ["cat", "dog"], [1, 0, 1]),
        (Value("int64"), [2, 0, 1], ["0", "1", "2"], [2, 0, 1]),
        (Value("uint8"), [10, 30, 20], ["10", "20", "30"], [0, 2, 1]),
        (Value("bool"), [True, False, True], ["False", "True"], [1, 0, 1]),
    ],
)
def test_classes_from_distinct_values(
    tmp_path: Path, kind: Any, labels: list[Any], names: list[str], indices: list[int]
) -> None:
    data = ImageData(str(write_parquet(tmp_path / "p.parquet", labels, kind)))
    assert (data.num_classes, data.label_names) == (len(names), names)
    assert labels_of(data) == indices


def test_classes_of_a_slice_are_those_of_the_whole_split(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "p.parquet", ["a", "b", "c"], Value("string"))
    data = ImageData(str(file), train_split="train[:2]", val_split="train[2:]")
    assert data.label_names == ["a", "b", "c"]
    assert (labels_of(data), labels_of(data, "val")) == ([0, 1], [2])


def test_num_classes_is_the_users(tmp_path: Path) -> None:
    file = str(write_parquet(tmp_path / "named.parquet", [0, 1]))
    assert ImageData(file, num_classes=3).label_names == ["cat", "dog", "2"]
    file = str(write_parquet(tmp_path / "plain.parquet", [5, 7], Value("int64")))
    data = ImageData(file, num_classes=1000)
    assert (data.num_classes, data.label_names[7], labels_of(data)) == (1000, "7", [5, 7])
    file = str(write_parquet(tmp_path / "text.parquet", ["a", "b", "c"], Value("string")))
    with pytest.raises(UserError, match="has 3 distinct labels, more than num_classes = 2"):
        _ = ImageData(file, num_classes=2).num_classes


def test_label_outside_the_classes(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "p.parquet", [0, 1, 2], ClassLabel(names=["a", "b", "c"]))
    with pytest.raises(
        UserError,
        match=r"Row 2 of split 'train' of .* has the label 2\. The 2 classes allow 0 to 1 \(-1 mar",
    ):
        ImageData(str(file), num_classes=2, val_split="train").setup("fit")


@pytest.mark.parametrize("unlabelled", [-1, None])
def test_unlabelled_rows(tmp_path: Path, unlabelled: int | None) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    write_parquet(tmp_path / "test.parquet", [0, unlabelled])
    data = ImageData(str(tmp_path), input_size=(3, 8, 8))
    with pytest.raises(
        UserError,
        match=r"Row 1 of split 'test' .* has (the label -1|no label)\. The 2 classes allow",
    ):
        data.setup("test")
    data.setup("predict")
    _, labels, rows = next(iter(data.predict_dataloader()))
    assert (labels.tolist(), rows.tolist()) == ([0, -1], [0, 1])


def test_name_that_training_does_not_know(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", ["cat", "dog"], Value("string"))
    write_parquet(tmp_path / "validation.parquet", ["cat", "bird"], Value("string"))
    with pytest.raises(
        UserError,
        match=r"Row 1 of split 'validation' of .* has the label 'bird'\. The classes, from the "
        r"training split, are 'cat', 'dog'\.",
    ):
        ImageData(str(tmp_path)).setup("validate")


def test_folder_that_training_does_not_have(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": {"cat": 1, "dog": 1}, "val": {"cat": 1, "Dog": 1}})
    data = ImageData(str(tmp_path))
    with pytest.raises(
        UserError,
        match=r"Row 0 of split 'validation' .* has the label 'Dog'\. The classes, from the "
        "training split, are 'cat', 'dog'",
    ):
        data.setup("fit")


def test_label_names_that_differ_between_splits(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1], ClassLabel(names=["cat", "dog"]))
    write_parquet(tmp_path / "test.parquet", [0, 1], ClassLabel(names=["dog", "cat"]))
    with pytest.raises(
        UserError,
        match=r"The label names of .* differ: .*test\.parquet \(split 'test'\) has "
        r"\['dog', 'cat'\], the files before it have \['cat', 'dog'\]",
    ):
        _ = ImageData(str(tmp_path)).num_classes


def test_predicting_needs_no_label_column(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    for index in range(3):
        picture(index).save(tmp_path / "test" / f"{index}.png")
    small: dict[str, Any] = {"input_size": (3, 8, 8)}
    data = ImageData(str(tmp_path), num_classes=5, **small)
    data.setup("predict")
    _, labels, rows = next(iter(data.predict_dataloader()))
    assert (labels.tolist(), rows.tolist()) == ([-1, -1, -1], [0, 1, 2])
    assert data.num_classes == 5
    assert ImageData(str(tmp_path), label_names=["cat", "dog"], **small).num_classes == 2
    with pytest.raises(UserError, match=r"No label column .* without labels, give num_classes or"):
        _ = ImageData(str(tmp_path), **small).num_classes
    with pytest.raises(UserError, match="No label column found"):
        data.setup("test")


def test_label_names_are_the_users(tmp_path: Path) -> None:
    file = str(write_parquet(tmp_path / "p.parquet", ["b", "a", "b"], Value("string")))
    data = ImageData(file, label_names=["b", "a"])
    assert data.label_names == ["b", "a"]
    assert labels_of(data) == [0, 1, 0]
    with pytest.raises(UserError, match="label_names has a name twice: b, b"):
        _ = ImageData(file, label_names=["b", "b"]).num_classes
    file = str(write_parquet(tmp_path / "c.parquet", [0, 1]))
    with pytest.raises(UserError, match="declares its own label names; leave label_names out"):
        _ = ImageData(file, label_names=["dog", "cat"]).num_classes
