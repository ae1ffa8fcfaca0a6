"""Images that cannot be read: the run ends, or goes on without them, up to a limit."""

import logging
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from kdna_zoo.data import ImageData
from kdna_zoo.data.decode import UnreadableImageError
from kdna_zoo.errors import UserError
from tests.data.conftest import write_folder, write_parquet
from tests.data.test_module import Recorder, trainer

SKIP: dict[str, Any] = {"input_size": (3, 8, 8), "on_bad_image": "skip"}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """An image folder with one broken file in each split, of row 2."""
    folder = write_folder(tmp_path, {"train": {"cat": 4, "dog": 4}, "test": {"cat": 3, "dog": 2}})
    for split in ("train", "test"):
        (folder / split / "cat" / "2.png").write_bytes(b"broken")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_training_takes_the_next_image(broken: Path, workers: int) -> None:
    data = ImageData(str(broken), **SKIP, batch_size=8, num_workers=workers)
    loader = data.train_dataloader()
    for _ in range(2):
        assert [len(labels) for _, labels in loader] == [8]
    assert data.bad_images == {"train": 1}, "once for each image, of all workers"


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_leaves_the_image_out(
    broken: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = ImageData(str(broken), **SKIP, batch_size=2, num_workers=workers)
    rows = torch.cat([rows for *_, rows in data.predict_dataloader()])
    assert rows.tolist() == [0, 1, 3, 4]
    assert data.bad_images == {"predict": 1}
    with caplog.at_level(logging.WARNING):
        data.teardown("predict")
    assert "Skipped 1 unreadable images of split 'test' (predict)" in caplog.text


def test_each_skipped_image_is_named(broken: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = ImageData(str(broken), **SKIP, num_workers=0)
    with caplog.at_level(logging.WARNING):
        list(data.val_dataloader())
    file = broken / "test" / "cat" / "2.png"
    assert f"Skipped: The image of row 2 ({file}) of split 'test'" in caplog.text


def test_one_more_than_the_limit_ends_the_run(broken: Path, tmp_path: Path) -> None:
    (broken / "train" / "dog" / "1.jpg").write_bytes(b"broken")
    data = ImageData(str(broken), **SKIP, batch_size=4, bad_image_limit=1)
    with pytest.raises(
        UnreadableImageError, match=r"one more than bad_image_limit = 1 allows to s"
    ):
        trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(
            Recorder(input_size=(3, 8, 8)), data
        )


def test_in_the_middle_of_an_epoch(broken: Path, tmp_path: Path) -> None:
    data = ImageData(str(broken), batch_size=2)
    module = Recorder(input_size=(3, 8, 8))
    fit = trainer(tmp_path, max_epochs=3, limit_val_batches=0)
    with pytest.raises(UnreadableImageError, match=r"row 2 \(.*cat/2\.png\) of split 'train'"):
        fit.fit(module, data)


def test_batch_without_any_image_that_can_be_read(broken: Path) -> None:
    data = ImageData(str(broken), **SKIP, batch_size=1)
    with pytest.raises(UnreadableImageError, match=r"No image of rows 2 of split 'test' .* can be"):
        list(data.val_dataloader())


@pytest.mark.parametrize("workers", [0, 2])
def test_in_a_stream(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    whole = (write_folder(tmp_path / "one", {"train": {"a": 1}}) / "train/a/0.png").read_bytes()
    images = [{"bytes": b"broken" if i in (1, 4) else whole, "path": f"{i}.png"} for i in range(7)]
    file = write_parquet(tmp_path / "data" / "train.parquet", [0, 1, 0, 1, 0, 1, 0], images=images)
    options = {**SKIP, "streaming": True, "batch_size": 7, "num_workers": workers}
    data = ImageData(str(file.parent), **options)
    assert [len(labels) for _, labels in data.train_dataloader()] == [7], "begun again"
    assert data.bad_images == {"train": 2}
    data = ImageData(str(file.parent), **options, bad_image_limit=1)
    with pytest.raises(UserError, match=r"\([14]\.png\) of split 'train' .* bad_image_limit = 1"):
        list(data.train_dataloader())
    options["on_bad_image"] = "error"
    with pytest.raises(
        UserError, match=r"^The image \d \([14]\.png\) of split 'train' .* cannot b"
    ):
        list(ImageData(str(file.parent), **options).train_dataloader())
