"""`ImageData` on the embedded sample: counts, batches, order, transforms, trainer."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import timm
import torch
from datasets import Value
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn

from kdna_zoo.data import ImageData
from kdna_zoo.data.sources.opening import EMBEDDED
from kdna_zoo.errors import UserError
from tests.data.conftest import write_parquet

SMALL: dict[str, Any] = {"input_size": (3, 28, 28), "crop_pct": 1.0}


class Recorder(pl.LightningModule):
    """Holds a timm network that it does not train, and keeps what it is given."""

    def __init__(self, **overlay: Any) -> None:
        super().__init__()
        self.model = timm.create_model(
            "test_resnet", num_classes=10, pretrained_cfg_overlay={"tag": "test", **overlay}
        )
        self.unused = nn.Parameter(torch.zeros(1))
        self.batches: list[tuple[Tensor, ...]] = []

    def training_step(self, batch: tuple[Tensor, ...]) -> Tensor:
        self.batches.append(batch)
        return self.unused.sum()

    def validation_step(self, batch: tuple[Tensor, ...]) -> None:
        self.batches.append(batch)

    def predict_step(self, batch: tuple[Tensor, ...]) -> Tensor:
        return batch[2]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.unused], lr=0.1)


def trainer(tmp_path: Path, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **options,
    )


def test_embedded_sample_is_small_and_licensed() -> None:
    files = {file.name: file.stat().st_size for file in EMBEDDED.iterdir()}
    assert set(files) == {"train.parquet", "test.parquet", "README.md", "LICENSE"}
    assert sum(files.values()) <= 4_000_000
    licence = (EMBEDDED / "LICENSE").read_text()
    assert "Copyright (c) 2017 Zalando SE" in licence
    assert "The above copyright notice and this permission notice shall be included" in licence


def test_embedded_sample_is_balanced_and_shuffled() -> None:
    data = ImageData(**SMALL)
    data.setup("fit")
    for loader, per_class in ((data.train_dataloader(), 600), (data.val_dataloader(), 100)):
        labels = loader.dataset.labels.tolist()  # type: ignore[attr-defined]
        assert Counter(labels) == dict.fromkeys(range(10), per_class)
        assert len(set(labels[:50])) == 10


def test_what_is_known_before_setup() -> None:
    data = ImageData()
    assert data.num_classes == 10
    assert data.label_names[0] == "T-shirt/top"
    assert data.label_names[9] == "Ankle boot"
    assert data.describe() == {
        "name": "Fashion-MNIST sample",
        "path": None,
        "hub_id": None,
        "revision": None,
        "license": "mit",
        "sources": ["zalando-datasets/fashion_mnist"],
        "train": {"split": "train", "images": 6000},
        "val": {"split": "test", "images": 1000},
    }


def test_batches_standalone() -> None:
    data = ImageData(**SMALL, batch_size=64, eval_batch_size=300)
    data.setup()
    images, labels = next(iter(data.train_dataloader()))
    assert (images.shape, images.dtype) == ((64, 3, 28, 28), torch.float32)
    assert (labels.shape, labels.dtype) == ((64,), torch.int64)
    assert data.train_batches == len(data.train_dataloader()) == 6000 // 64
    assert [len(labels) for _, labels in data.val_dataloader()] == [300, 300, 300, 100]
    rows = torch.cat([rows for *_, rows in data.predict_dataloader()])
    assert torch.equal(rows, torch.arange(1000))


def test_two_workers_give_the_same_batches() -> None:
    def evaluated(workers: int) -> list[Tensor]:
        data = ImageData(**SMALL, val_split="test[:100]", num_workers=workers)
        return [torch.cat(parts) for parts in zip(*data.val_dataloader(), strict=True)]

    for alone, shared in zip(evaluated(0), evaluated(2), strict=True):
        assert torch.equal(alone, shared)


def test_rows_can_be_sent_to_a_spawned_worker() -> None:
    data = ImageData(**SMALL)
    rows = data.val_dataloader().dataset
    copy = pickle.loads(pickle.dumps(rows))
    assert torch.equal(copy[7][0], rows[7][0])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_seed_fixes_two_epochs(workers: int) -> None:
    def two_epochs() -> list[tuple[Tensor, Tensor]]:
        pl.seed_everything(3, workers=True, verbose=False)
        data = ImageData(**SMALL, train_split="train[:128]", num_workers=workers)
        loader = data.train_dataloader()
        return [(images, labels) for _ in range(2) for images, labels in loader]

    first, second = two_epochs(), two_epochs()
    assert len(first) == 4
    for (images, labels), (again, labels_again) in zip(first, second, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)
    assert not torch.equal(first[0][1], first[2][1])  # the second epoch has another order


def test_last_batch_is_dropped_unless_it_is_the_only_one() -> None:
    data = ImageData(**SMALL, train_split="train[:100]", batch_size=64)
    assert [len(labels) for _, labels in data.train_dataloader()] == [64]
    data = ImageData(**SMALL, train_split="train[:50]", batch_size=64)
    assert [len(labels) for _, labels in data.train_dataloader()] == [50]
    assert data.train_batches == 1


def test_grey_network() -> None:
    data = ImageData(input_size=(1, 28, 28), mean=(0.5,), std=(0.5,), val_split="test[:4]")
    images, _ = next(iter(data.val_dataloader()))
    assert images.shape == (4, 1, 28, 28)


def test_transforms_are_timms_for_the_network(tmp_path: Path) -> None:
    own = {
        "input_size": (3, 20, 24),
        "mean": (0.1, 0.2, 0.3),
        "crop_pct": 0.8,
        "crop_mode": "squash",
    }
    module = Recorder(**own, interpolation="bilinear")
    data = ImageData(std=(0.5, 0.6, 0.7), val_split="test[:4]")
    trainer(tmp_path).validate(module, data, verbose=False)
    assert data.data_config == {
        "input_size": [3, 20, 24],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.5, 0.6, 0.7],
        "interpolation": "bilinear",
        "crop_pct": 0.8,
        "crop_mode": "squash",
    }
    config = resolve_data_config(  # type: ignore[no-untyped-call]
        {"std": (0.5, 0.6, 0.7)}, pretrained_cfg=module.model.pretrained_cfg
    )
    expected = create_transform(**config)
    image = data.source.read("test")[0]["image"].convert("RGB")
    assert torch.equal(module.batches[0][0][0], expected(image))


def test_augmentation_is_the_users() -> None:
    augment: dict[str, Any] = {"no_aug": True}
    data = ImageData(**SMALL, train_split="train[:8]", batch_size=8, augment=augment)
    images, _ = next(iter(data.train_dataloader()))
    plain = ImageData(**SMALL, val_split="train[:8]", batch_size=8)
    unmoved, _ = next(iter(plain.val_dataloader()))
    assert sorted(images.sum((1, 2, 3)).tolist()) == sorted(unmoved.sum((1, 2, 3)).tolist())
    augment = {"hflip": 0.5, "scale": [0.5, 1.0], "auto_augment": "rand-m9-mstd0.5", "re_prob": 0.2}
    data = ImageData(**SMALL, train_split="train[:8]", batch_size=8, augment=augment)
    assert next(iter(data.train_dataloader()))[0].shape == (8, 3, 28, 28)


def test_fit_and_predict_with_a_trainer(tmp_path: Path) -> None:
    module = Recorder(input_size=(3, 28, 28))
    data = ImageData(train_split="train[:100]", val_split="test[:40]", batch_size=32)
    fit = trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0)
    fit.fit(module, data)
    assert data.train_batches == fit.num_training_batches == 3
    assert [len(labels) for _, labels in module.batches] == 2 * [32, 32, 32, 32, 8]
    rows = fit.predict(module, ImageData(test_split="test[:40]", batch_size=32))
    assert rows is not None
    assert torch.equal(torch.cat(rows), torch.arange(40))


@pytest.mark.parametrize("limit", [2, 0.5, 1.0, 1000])
def test_train_batches_follow_the_trainers_limit(tmp_path: Path, limit: float) -> None:
    data = ImageData(train_split="train[:256]", batch_size=32)
    fit = trainer(tmp_path, max_epochs=1, limit_train_batches=limit, limit_val_batches=0)
    fit.fit(Recorder(input_size=(3, 28, 28)), data)
    assert data.train_batches == fit.num_training_batches


def test_without_validation_no_validation_split_is_needed(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "pets.parquet", [0, 1] * 4)
    data = ImageData(str(file), batch_size=4)
    fit = trainer(tmp_path, max_epochs=1, limit_val_batches=0)
    fit.fit(Recorder(input_size=(3, 8, 8)), data)
    assert data.train_batches == 2


def test_model_with_too_few_classes(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "p.parquet", list(range(11)), Value("int64"))
    data = ImageData(str(file), val_split="train")
    with pytest.raises(UserError, match=r"The model has 10 classes, .* has 11\. Create the mod"):
        trainer(tmp_path).validate(Recorder(), data, verbose=False)


def test_unknown_augmentation() -> None:
    data = ImageData(**SMALL, augment={"hflop": 0.5})
    with pytest.raises(UserError, match=r"unknown key 'hflop'\. Allowed: no_aug, train_crop_mode"):
        data.setup("fit")


@pytest.mark.parametrize(
    "augment", [{"train_crop_mode": "x"}, {"interpolation": "x"}, {"auto_augment": "rand-x9"}]
)
def test_augmentation_that_timm_refuses(augment: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="timm cannot make a transform of"):
        ImageData(**SMALL, augment=augment).setup("fit")


@pytest.mark.parametrize("given", [{"mean": (0.5, 0.5)}, {"input_size": (3, 28)}])
def test_data_config_that_timm_refuses(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"timm cannot use this data config.*input_size is \(chan"):
        ImageData(**given).setup("fit")
    with pytest.raises(UserError, match=r"input_size \(4, 28, 28\): images are read with 3 "):
        ImageData(input_size=(4, 28, 28), mean=(0.5,), std=(0.5,)).setup("fit")


class LinkedRecorder(Recorder):
    """Takes its number of classes from the data."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes


class LinkingCLI(LightningCLI):
    """Links as the project's command line does."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        link = ("data.num_classes", "model.num_classes")
        parser.link_arguments(*link, apply_on="instantiate")


def test_arguments_from_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["test"])
    config = tmp_path / "config.yaml"
    config.write_text("""
    data:
      train_split: train[:90%]
      num_classes: null
      input_size: [3, 28, 28]
      preprocess: {mean: [0.5, 0.5, 0.5], crop_pct: 1.0, crop_mode: center}
      augment: {hflip: 0.5, scale: [0.6, 1.0], color_jitter: null, re_prob: 0.1}
    """)
    cli = LinkingCLI(LinkedRecorder, ImageData, run=False, args=["--config", str(config)])
    assert cli.model.num_classes == 10
    assert cli.datamodule.data_config["input_size"] == [3, 28, 28]
    assert cli.datamodule.describe()["train"] == {"split": "train[:90%]", "images": 5400}
