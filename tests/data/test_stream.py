"""Streams: each image once over ranks and workers, order, labels, as many batches on each rank."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import lightning.pytorch as pl
import pytest
import torch
from datasets import Value

from kdna_zoo.data import ImageData
from kdna_zoo.data.stream import ImageStream, RankShare, StreamOptions
from kdna_zoo.data.stream_loader import StreamLoader, full_batches
from kdna_zoo.errors import RunError, UserError
from tests.data.conftest import write_folder, write_parquet

SMALL: dict[str, Any] = {"input_size": (3, 8, 8), "crop_pct": 1.0, "streaming": True}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here too; in workers the stream sees to it."""
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)


def write_shards(folder: Path, sizes: Sequence[int]) -> str:
    """Writes parquet files of some sizes, whose labels number the images."""
    first = 0
    for index, size in enumerate(sizes):
        file = folder / f"train-{index:05}-of-{len(sizes):05}.parquet"
        write_parquet(file, list(range(first, first + size)), Value("int64"))
        first += size
    return str(folder)


def loader_of(
    path: str, images: int, share: RankShare, workers: int, batch_size: int = 4, epoch: int = 0
) -> StreamLoader:
    stream = StreamOptions(shuffle_buffer=8, share=share.by)
    data = ImageData(
        path, **SMALL, num_classes=images, stream=stream, batch_size=batch_size, num_workers=workers
    )
    loader = data.train_dataloader()
    assert isinstance(loader, StreamLoader)
    return StreamLoader(
        with_share(loader.dataset, share),
        batch_size,
        -(-images // share.ranks),
        epoch=lambda: epoch,
        num_workers=workers,
    )


@pytest.fixture(autouse=True)
def _seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ranks are given by the command line: one seed."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")


def with_share(stream: ImageStream, share: RankShare) -> ImageStream:
    stream.share = share
    return stream


def seen(loader: Any) -> list[int]:
    return [int(label) for batch in loader for label in batch[1]]


@pytest.mark.parametrize(
    "sizes", [(6, 6, 6, 6), (3, 11, 1, 9), (5, 8, 11), (24,)], ids=["even", "uneven", "3", "1"]
)
def test_each_image_is_seen_once_over_two_ranks_of_two_workers(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    path = write_shards(tmp_path, sizes)
    loaders = [loader_of(path, 24, RankShare(rank, 2), workers=2) for rank in (0, 1)]
    for epoch in (0, 1):
        batches = [[len(labels) for _, labels in loader] for loader in loaders]
        assert batches == [[4, 4, 4], [4, 4, 4]]
        counts = Counter(label for loader in loaders for label in seen(loader))
        assert counts == dict.fromkeys(range(24), 1), epoch


def test_ranks_take_as_many_batches_of_shards_that_differ(tmp_path: Path) -> None:
    path = write_shards(tmp_path, (2, 12, 3, 7))
    options = {"by": "shards", "ranks": 2}
    loaders = [loader_of(path, 24, RankShare(rank, **options), workers=2) for rank in (0, 1)]
    parts = [Counter(seen(loader)) for loader in loaders]
    assert [len(loader) for loader in loaders] == [3, 3]
    assert [sum(part.values()) for part in parts] == [12, 12]
    assert not parts[0].keys() & parts[1].keys(), "each rank has files of its own"


def test_more_ranks_than_shards(tmp_path: Path) -> None:
    path = write_shards(tmp_path, (8,))
    loader = loader_of(path, 8, RankShare(1, 2, "shards"), workers=0)
    with pytest.raises(RunError, match=r"has no image for rank 1: use fewer ranks, or share by im"):
        seen(loader)


def test_order_is_fixed_by_seed_and_differs_each_epoch(tmp_path: Path) -> None:
    path = write_shards(tmp_path, (6, 6, 6, 6))

    def order(seed: int, epoch: int) -> list[int]:
        pl.seed_everything(seed, verbose=False)
        return seen(loader_of(path, 24, RankShare(), workers=0, epoch=epoch))

    first = order(1, 0)
    assert sorted(first) == list(range(24))
    assert first != list(range(24))
    assert order(1, 0) == first
    assert order(1, 1) != first
    assert order(2, 0) != first


def test_workers_that_stay_see_the_next_epoch(tmp_path: Path) -> None:
    path = write_shards(tmp_path, (6, 6))
    loader = loader_of(path, 12, RankShare(), workers=2)
    epochs = []
    for epoch in (0, 1, 0):
        loader._epoch = {0: lambda: 0, 1: lambda: 1}[epoch]
        epochs.append(seen(loader))
    assert epochs[0] == epochs[2] != epochs[1]


def test_incomplete_batches_are_put_together() -> None:
    parts = [list(range(4)), [4], [5, 6, 7], list(range(8, 12)), [12, 13, 14], [15, 16]]
    batches = [[torch.tensor(part), -torch.tensor(part)] for part in parts]
    found = [batch[0].tolist() for batch in full_batches(batches, 4)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]


def test_a_stream_that_is_shorter_than_told_begins_again(tmp_path: Path) -> None:
    path = write_shards(tmp_path, (5, 3))
    loader = loader_of(path, 20, RankShare(), workers=0)
    assert Counter(Counter(seen(loader)).values()) == {2: 4, 3: 4}


def test_fit_on_a_stream(tmp_path: Path) -> None:
    from tests.data.test_module import Recorder, trainer

    path = write_shards(tmp_path, (6, 6, 7))
    module = Recorder(input_size=(3, 8, 8))
    data = ImageData(
        path,
        streaming=True,
        num_classes=10,
        batch_size=4,
        stream=StreamOptions(18),
        val_split="train",
    )
    with pytest.raises(UserError, match=r"the label 1\d\. The 10 classes allow 0 to 9"):
        trainer(tmp_path, max_epochs=2).fit(module, data)
    path = str(
        write_folder(tmp_path / "pets", {"train": {"a": 9, "b": 4}, "val": {"a": 3, "b": 2}})
    )
    data = ImageData(path, streaming=True, batch_size=4, num_workers=2)
    fit = trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0)
    fit.fit(module := Recorder(input_size=(3, 8, 8)), data)
    assert data.train_batches == fit.num_training_batches == 3
    assert data.label_names == ["a", "b"]
    sizes = [len(labels) for _, labels in module.batches]
    assert sizes[:3] == [4, 4, 4]
    assert sum(sizes) == 2 * (12 + 5)
    assert data.describe()["train"] == {"split": "train", "images": 13}


def test_evaluation_sees_each_image_once(tmp_path: Path) -> None:
    path = write_shards(tmp_path, (3, 11, 1, 8))
    data = ImageData(path, **SMALL, num_classes=23, val_split="train", num_workers=2, batch_size=4)
    counts: Counter[int] = Counter()
    for rank in (0, 1):
        loader = data.val_dataloader()
        with_share(loader.dataset, RankShare(rank, 2))
        counts.update(seen(loader))
    assert counts == dict.fromkeys(range(23), 1)


def test_label_names_for_a_column_of_strings(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", ["dog", "cat", "dog", "owl"], Value("string"))
    data = ImageData(str(tmp_path), **SMALL, label_names=["owl", "cat", "dog"], batch_size=4)
    assert sorted(seen(data.train_dataloader())) == [0, 1, 2, 2]
    with pytest.raises(UserError, match=r"does not declare its classes.*give label_names, or num"):
        _ = ImageData(str(tmp_path), **SMALL).num_classes


@pytest.mark.parametrize("workers", [0, 2])
def test_unknown_label(tmp_path: Path, workers: int) -> None:
    write_parquet(tmp_path / "train.parquet", ["dog", "cat", "emu"], Value("string"))
    data = ImageData(
        str(tmp_path), **SMALL, label_names=["cat", "dog"], batch_size=3, num_workers=workers
    )
    with pytest.raises(
        UserError, match=r"^Row \d of split 'train' of .* has the label 'emu'\. The"
    ):
        seen(data.train_dataloader())


def test_options_that_a_stream_excludes(tmp_path: Path) -> None:
    path = write_shards(tmp_path, (4,))
    with pytest.raises(UserError, match="val_fraction holds rows out, and a stream has none"):
        ImageData(path, streaming=True, val_fraction=0.1)
    with pytest.raises(UserError, match="set streaming to true, or leave stream out"):
        ImageData(path, stream=StreamOptions())
    with pytest.raises(UserError, match=r"stream\.shuffle_buffer must be at least 1, got 0"):
        StreamOptions(shuffle_buffer=0)
    with pytest.raises(UserError, match=r"'train\[:2\]': a stream cannot be sliced"):
        ImageData(path, **SMALL, num_classes=4, train_split="train[:2]").setup("fit")
    with pytest.raises(UserError, match="predictions go by row, which a stream has none of"):
        ImageData(path, **SMALL, num_classes=4).predict_dataloader()
    with pytest.raises(UserError, match=r"There is no split 'dev' in .* It has: train\."):
        ImageData(path, **SMALL, num_classes=4, train_split="dev").setup("fit")


@pytest.mark.integration
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("skip", [1, 4, 5])
def test_going_on_in_the_middle_of_an_epoch(tmp_path: Path, workers: int, skip: int) -> None:
    path = write_shards(tmp_path, (3, 11, 1, 9))

    def batches(start: tuple[int, int]) -> list[Any]:
        loader = loader_of(path, 24, RankShare(), workers, epoch=2)
        loader._start = start
        return list(loader)

    whole, rest = batches((0, 0)), batches((2, skip))
    assert len(rest) == 6 - skip
    for expected, found in zip(whole[skip:], rest, strict=True):
        assert torch.equal(expected[1], found[1])
        assert torch.equal(expected[0], found[0]), "augmentation included"
    assert len(batches((1, skip))) == 6, "of another epoch"


@pytest.mark.parametrize("skip", [True, False])
def test_what_may_be_repeated_is_said(
    tmp_path: Path, skip: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An image that was skipped is not decoded again, so it counts into the known batches."""
    path = write_shards(tmp_path, (8,))
    bad = "skip" if skip else "error"
    data = ImageData(path, **SMALL, num_classes=8, batch_size=2, on_bad_image=bad)
    made_of: dict[str, int | None] = {"images": 8, "batch_size": 2, "devices": 1}
    data.load_state_dict({"seed": 0, "epoch": 0, "batches": 1, "made_of": made_of})
    with caplog.at_level("INFO"):
        data.train_dataloader()
    assert "up to batch 1, where the run stood" in caplog.text
    assert ("as many images may be repeated as could not be read" in caplog.text) == skip
