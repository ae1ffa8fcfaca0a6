"""Folders of images as people have them: what is on disk is used, or is said not to be."""

import logging
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import Value

from kdna_zoo.data import ImageData
from kdna_zoo.data.sources.image_folder import read_image_folder
from kdna_zoo.data.sources.pictures import extensions
from kdna_zoo.errors import UserError
from tests.data.conftest import picture, write_folder, write_parquet


def save(*files: Path) -> None:
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(file, format="JPEG" if file.suffix.lower() == ".jpg" else "PNG")


def found(root: Path) -> dict[str, Counter[str]]:
    return {name: split.classes() for name, split in read_image_folder(root).splits.items()}


def passed(root: Path) -> dict[str, int]:
    return dict(read_image_folder(root).passed.counts)


def test_words_of_splits_in_classes_and_files_are_just_words(tmp_path: Path) -> None:
    """`datasets` would look for them anywhere in a path."""
    classes = {"train": 2, "train_station": 1, "test-tube": 1, "val": 1}
    root = write_folder(tmp_path / "my training data", {"train": classes, "test": classes})
    save(root / "train" / "train" / "test_0.png", root / "test" / "train" / "train_0.png")
    each = Counter({**classes, "train": 3})
    assert found(root) == {"train": each, "test": each}
    assert passed(root) == {}


def test_a_class_may_be_called_train_where_there_are_no_splits(tmp_path: Path) -> None:
    save(*[tmp_path / name / "0.png" for name in ("train", "bus", "test", "car")])
    assert found(tmp_path) == {"train": Counter(["train", "bus", "test", "car"])}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("Train", "valid", "Test"),
        ("training", "Dev", "testing"),
    ],
)
def test_splits_in_any_case(tmp_path: Path, train: str, val: str, test: str) -> None:
    splits = {train: {"a": 3, "b": 2}, val: {"a": 1, "b": 1}, test: {"a": 1, "b": 2}}
    root = write_folder(tmp_path, splits)
    assert found(root) == {
        "train": Counter(a=3, b=2),
        "validation": Counter(a=1, b=1),
        "test": Counter(a=1, b=2),
    }


def test_two_folders_of_one_split(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": {"a": 1}, "val": {"a": 1}, "Valid": {"a": 1}})
    with pytest.raises(UserError, match=r"Valid and .*val are both the split 'validation' of"):
        read_image_folder(root)


def test_a_folder_beside_the_splits(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": {"a": 1, "b": 1}, "extra": {"a": 1}})
    with pytest.raises(
        UserError, match=r"has the splits train, and images in extra beside them.*If these folders"
    ):
        read_image_folder(root)
    (root / "extra" / "a" / "0.png").rename(root / "train" / "a" / "1.png")
    (root / "notes").mkdir()
    assert found(root) == {"train": Counter(a=2, b=1)}
    assert passed(root) == {"folder without images": 2}


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    save(*[tmp_path / "elsewhere" / "deep" / f"{n}.png" for n in range(3)])
    root = write_folder(tmp_path / "pets", {"train": {"cat": 2}})
    (root / "train" / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "train" / "cat" / "more.png").symlink_to(tmp_path / "elsewhere" / "deep" / "0.png")
    (tmp_path / "elsewhere" / "deep" / "around").symlink_to(tmp_path / "elsewhere")
    (root / "train" / "all").symlink_to(root)
    (root / "loop").symlink_to(root)
    (root / "train" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "train" / "cat" / "itself.png").symlink_to("itself.png")
    assert found(root) == {"train": Counter(cat=3, dog=3)}
    assert passed(root) == {
        "link to a folder around it": 2,
        "broken link": 2,
        "folder without images": 1,
    }


def test_extensions_in_any_case(tmp_path: Path) -> None:
    names = ("a.Png", "b.JPG", "c.jpeg", "d.avif", "e.mpo", "f.TIFF", "g.webp", "h.jfif", "i.jp2")
    for name in names:
        save(tmp_path / "one" / "0.png", tmp_path / "two" / "0.png")
        (tmp_path / "one" / name).write_bytes(b"")
    assert found(tmp_path) == {"train": Counter(one=1 + len(names), two=1)}
    assert extensions() >= {".jpg", ".png", ".mpo"}
    assert not extensions() & {".pdf", ".txt", ".h5", ".mpg", ".eps"}


def test_special_characters_are_just_characters(tmp_path: Path) -> None:
    name = "flowers [v1] {a,b} *?!"
    root = write_folder(tmp_path / name, {"train": {"[0-9]": 2, "a,b": 1, "ÄÖ €": 1}})
    assert found(root) == {"train": Counter({"[0-9]": 2, "a,b": 1, "ÄÖ €": 1})}
    small: dict[str, Any] = {"input_size": (3, 8, 8), "val_split": "train"}
    data = ImageData(str(root), **small)
    assert next(iter(data.val_dataloader()))[1].tolist() == [0, 0, 1, 2]
    file = write_parquet(tmp_path / name / "only [v1]" / "a[0].parquet", [0, 1])
    assert ImageData(str(file)).describe()["train"]["images"] == 2
    assert ImageData(str(file.parent)).describe()["train"]["images"] == 2


def test_files_of_the_system_are_passed_over(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": {"a": 1, "b": 1}})
    save(root / "__MACOSX" / "train" / "a" / "._0.png", root / "train" / "a" / "._0.png")
    save(root / ".thumbs" / "0.png", root / "train" / "a" / "@eaDir" / "0.jpg" / "thumb.png")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (root / "train" / "a" / name).write_bytes(b"")
    assert found(root) == {"train": Counter(a=1, b=1)}
    assert passed(root) == {"hidden or of the system": 7}


def test_nothing_is_left_out_unsaid(tmp_path: Path) -> None:
    """Each file on disk is used or counted."""
    root = write_folder(tmp_path, {"train": {"a": 3, "b": 2}, "test": {"a": 1, "c/d": 1}})
    (root / "train" / "empty").mkdir()
    save(root / "cover.png", root / "train" / "contact sheet.jpg")
    for file in ("labels.csv", "train/a/notes.txt", "train/b/0.xml", "README.md", "train/a/x"):
        (root / file).write_text("")
    os.mkfifo(root / "train" / "b" / "pipe.png")
    (root / "train" / "b" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    folder = read_image_folder(root)
    used = sum(len(split.paths) for split in folder.splits.values())
    on_disk = [path for path in root.rglob("*") if not path.is_dir()]
    assert used + folder.passed.counts.total() == len(on_disk) + 1  # the empty folder
    assert folder.passed.counts == {
        "image outside of the class folders": 2,
        "name that is not UTF-8": 1,
        "no regular file": 1,
        "folder without images": 1,
        **{".csv": 1, ".txt": 1, ".xml": 1, ".md": 1, "without extension": 1},
    }


def test_what_was_found_is_said_before_the_first_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_folder(tmp_path, {"train": {"a": 3, "b": 2}, "test": {"a": 2, "b": 2}})
    (root / "metadata.csv").write_text("file_name,text\ntrain/a/0.png,hello\n")
    with caplog.at_level(logging.INFO):
        ImageData(str(root), input_size=(3, 8, 8)).setup("fit")
    assert (
        f"data set {str(root)!r}: train 5 images of 2 classes, 2 to 3 each; test 4 images of 2 "
        f"classes, 2 each; passed over: 1 .csv (as {root}/metadata.csv); 2 classes: a, b"
    ) in caplog.messages
    file = write_parquet(tmp_path / "p" / "train-0.parquet", [0, 1, 1])
    (tmp_path / "p" / "notes.txt").write_text("")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        ImageData(str(file.parent), input_size=(3, 8, 8), val_split="train").setup("fit")
    assert [message for message in caplog.messages if "passed over" in message] == [
        f"data set {str(file.parent)!r}: train 3 images; passed over: 1 .txt (as "
        f"{file.parent}/notes.txt); 2 classes: cat, dog"
    ]


def test_classes_of_nested_folders_are_torchvisions(tmp_path: Path) -> None:
    save(*[tmp_path / name / "0.png" for name in ("a/s1", "a/s2", "b/s1")])
    assert ImageData(str(tmp_path)).label_names == ["a", "b"]
    data = ImageData(str(tmp_path), class_folders="last", val_split="train")
    assert data.label_names == ["s1", "s2"]
    assert data.val_dataloader().dataset.labels.tolist() == [0, 1, 0]  # type: ignore[attr-defined]


def test_a_test_split_without_classes(tmp_path: Path) -> None:
    """As from a competition: labelled images to train on, loose ones to predict."""
    root = write_folder(tmp_path, {"train": {"cat": 2, "dog": 2}})
    save(root / "test" / "1.png", root / "test" / "2.png")
    data = ImageData(str(root), input_size=(3, 8, 8), val_fraction=0.5)
    assert data.label_names == ["cat", "dog"]
    data.setup("predict")
    assert next(iter(data.predict_dataloader()))[1].tolist() == [-1, -1]
    assert data.file_names([1, 0]) == [f"{root}/test/2.png", f"{root}/test/1.png"]
    with pytest.raises(UserError, match=r"Row 0 of split 'test' of .* has no label"):
        data.setup("test")


def test_a_class_that_training_does_not_have_is_predicted_on(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": {"cat": 2, "dog": 2}, "test": {"cat": 1, "new": 1}})
    data = ImageData(str(root), input_size=(3, 8, 8), val_fraction=0.5)
    assert data.num_classes == 2  # it would be an output that nothing trains
    data.setup("predict")
    assert next(iter(data.predict_dataloader()))[1].tolist() == [0, -1]
    with pytest.raises(UserError, match=r"has the label 'new'\. The classes, from the training"):
        data.setup("test")


def test_file_names_of_other_data_sets(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "p.parquet", [0, 1], id=(Value("int64"), [70, 71]))
    data = ImageData(str(file), input_size=(3, 8, 8), test_split="train")
    assert data.file_names([1, 0]) == ["71", "70"]
    assert ImageData().file_names([3]) == [""]


def test_label_names_choose_the_order_of_folders(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"test": {"cat": 1, "dog": 1}})
    data = ImageData(str(root), label_names=["dog", "cat", "eel"], input_size=(3, 8, 8))
    assert data.test_dataloader().dataset.labels.tolist() == [1, 0]  # type: ignore[attr-defined]
    assert data.num_classes == 3


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(
        UserError, match=r"Cannot read data set .*: the folder holds no images \(1 \.zip \(as .*1 f"
    ):
        ImageData(str(tmp_path)).prepare_data()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": {"a": 1, "b": 1}})
    (root / "train" / "a").chmod(0)
    with pytest.raises(UserError, match=r"Cannot list the folder .*Make it readable"):
        read_image_folder(root)


def test_slices_and_sums_of_splits(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": {"a": 6, "b": 4}, "val": {"a": 1, "b": 1}})

    def labels(split: str) -> list[int]:
        data = ImageData(str(root), val_split=split, input_size=(3, 8, 8))
        return list(data.val_dataloader().dataset.labels)  # type: ignore[attr-defined]

    assert labels("train[:70%]") == [0] * 6 + [1]
    assert labels("train[8:]+validation") == [1, 1, 0, 1]
    with pytest.raises(UserError, match=r"Split 'train\[3:3\]' of .* is empty"):
        labels("train[3:3]")
    with pytest.raises(UserError, match=r"Write a slice as 'train\[:90%\]'"):
        labels("train[:9x]")


def test_listing_is_quick(tmp_path: Path) -> None:
    """`datasets` takes more than a millisecond for each file."""
    for name in range(10):
        (tmp_path / "train" / f"n{name}").mkdir(parents=True)
        for index in range(500):
            (tmp_path / "train" / f"n{name}" / f"{index}.JPEG").touch()
    began = time.perf_counter()
    assert ImageData(str(tmp_path)).describe()["train"]["images"] == 5000
    assert time.perf_counter() - began < 2


def test_classes_that_a_network_has_learnt(tmp_path: Path) -> None:
    """A folder to test on need not show each of them, nor have any to predict on."""
    root = write_folder(tmp_path / "some", {"test": {"cat": 1, "eel": 2}})
    learnt: dict[str, Any] = {"learnt_names": ["eel", "dog", "cat"], "input_size": (3, 8, 8)}
    data = ImageData(str(root), **learnt)
    assert data.label_names == ["eel", "dog", "cat"]
    assert data.test_dataloader().dataset.labels.tolist() == [2, 0, 0]  # type: ignore[attr-defined]
    save(tmp_path / "none" / "1.png", tmp_path / "none" / "2.png")
    data = ImageData(str(tmp_path / "none"), test_split="train", **learnt)
    assert data.label_names == ["eel", "dog", "cat"]
    assert next(iter(data.predict_dataloader()))[1].tolist() == [-1, -1]
    root = write_folder(tmp_path / "other", {"test": {"cat": 1, "fox": 2}})
    assert ImageData(str(root), **learnt).label_names == ["cat", "fox"]  # others check that
