"""`ImageData`: labelled images from anywhere `datasets` reads, batched for a timm network."""

import math
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from PIL import Image
from torch.utils.data import DataLoader

from kdna_zoo.data.checks import check_numbers
from kdna_zoo.data.labelled import LabelledImages
from kdna_zoo.data.loaders import make_loader
from kdna_zoo.data.loading import Source, open_source
from kdna_zoo.data.rows import Example, ImageRows
from kdna_zoo.data.transforms import (
    CONFIG_KEYS,
    eval_transform,
    resolve_config,
    train_transform,
)
from kdna_zoo.errors import UserError

VAL_SPLITS = ("validation", "val", "test")
TEST_SPLITS = ("test", "validation", "val")


class ImageData(pl.LightningDataModule):
    """Images and labels for classification.

    A batch is ``(images, labels)``: images (N, 3, H, W) float32, normalised; labels (N,) int64.
    A batch to predict on is ``(images, labels, rows)``, where a row without label has label -1.

    The data config (input size, mean, std, interpolation, crop) is timm's: what is not given here
    comes from the network's ``pretrained_cfg``, so that training, evaluation and the published
    config agree.

    Args:
        path: A Hub id such as ``ILSVRC/imagenet-1k``, an image folder (one folder for each class,
            perhaps inside one for each split), a folder of parquet files, or one parquet file;
            None: the embedded Fashion-MNIST sample.
        name: Configuration of a data set that has several.
        revision: Branch, tag or commit of a data set on the Hub.
        train_split: The split to train on; slices such as ``train[:90%]`` work, here and below.
        val_split: The split to validate on; None: the first there is of validation, val, test.
        test_split: The split to test and predict on; None: the first there is of test,
            validation, val.
        image_column: The column of images; None: the only one of that type.
        label_column: The column of labels; None: the only one of that type.
        num_classes: Number of classes; None: as many as the data set has.
        batch_size: Images in a training batch, on each device.
        eval_batch_size: Images in any other batch, on each device; None: as for training.
        num_workers: Processes that load, on each device; 0: the training process itself. 0 by
            default, so that a seed gives the same run on every machine (the augmentation depends
            on the number of workers) and small images cost no start of a process. Set it to the
            number of cores for large images.
        pin_memory: Whether to load into page-locked memory; None: where there is CUDA.
        input_size: Channels (3, or 1 for grey), height and width of the network's input.
        mean: Mean of each channel, of values in [0, 1].
        std: Standard deviation of each channel, of values in [0, 1].
        interpolation: How images are resized, in training too unless `augment` says otherwise.
        crop_pct: Part of the resized image's side that the evaluation crop keeps.
        crop_mode: How the evaluation crop is taken.
        augment: Keyword arguments of `timm.data.create_transform` for training, such as hflip,
            scale, ratio, color_jitter, auto_augment, re_prob, train_crop_mode; timm's defaults
            where not given.
        val_fraction: Part of each class of the training split to hold out and validate on, the
            same in every run; None: validate on `val_split`.
        cache_dir: Where `datasets` keeps its Arrow files; None: its own choice.
    """

    def __init__(
        self,
        path: str | None = None,
        name: str | None = None,
        revision: str | None = None,
        train_split: str = "train",
        val_split: str | None = None,
        test_split: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        num_classes: int | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        pin_memory: bool | None = None,
        input_size: tuple[int, int, int] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        interpolation: str | None = None,
        crop_pct: float | None = None,
        crop_mode: Literal["center", "squash", "border"] | None = None,
        augment: dict[str, Any] | None = None,
        val_fraction: float | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        check_numbers(batch_size, eval_batch_size, num_workers, num_classes, val_fraction)
        self.path = path
        self.config_name = name
        self.revision = revision
        self.train_split = train_split
        self._val_split = val_split
        self._test_split = test_split
        self._image_column = image_column
        self._label_column = label_column
        self._num_classes = num_classes
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_workers = num_workers
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        values = (input_size, mean, std, interpolation, crop_pct, crop_mode)
        self._given_config = dict(zip(CONFIG_KEYS, values, strict=True))
        self.augment = augment
        self.val_fraction = val_fraction
        self.cache_dir = cache_dir
        self._validates = True
        self._rows: dict[str, ImageRows] = {}

    @cached_property
    def source(self) -> Source:
        """The data set; opened on first use."""
        return open_source(self.path, self.config_name, self.revision, self.cache_dir)

    @cached_property
    def images(self) -> LabelledImages:
        """The data set with its columns and classes settled."""
        return LabelledImages(
            self.source,
            self.train_split,
            self._image_column,
            self._label_column,
            self._num_classes,
        )

    @property
    def num_classes(self) -> int:
        """Number of classes; known before `setup`, so that a command line can link it."""
        return len(self.images.classes.names)

    @property
    def label_names(self) -> list[str]:
        """The name of each class, by index."""
        return self.images.classes.names

    @property
    def val_split(self) -> str:
        """The split to validate on."""
        return self._val_split or self.source.first_split("val_split", VAL_SPLITS)

    @property
    def test_split(self) -> str:
        """The split to test and predict on."""
        return self._test_split or self.source.first_split("test_split", TEST_SPLITS)

    @property
    def data_config(self) -> dict[str, Any]:
        """What timm's `resolve_data_config` settles on, as plain JSON types."""
        return resolve_config(self._given_config, getattr(self._network(), "pretrained_cfg", {}))

    @property
    def train_batches(self) -> int:
        """Batches of one epoch on one device, as the trainer will run them.

        Counted without building a loader, as `trainer.estimated_stepping_batches` does not.
        """
        ranks = self.trainer.world_size if self.trainer else 1
        batches = max(self._images_per_rank(ranks) // self.batch_size, 1)
        limit = self.trainer.limit_train_batches if self.trainer else 1.0
        return min(batches, limit) if isinstance(limit, int) else int(batches * limit)

    def prepare_data(self) -> None:
        """Download and prepare the data, in one process on each machine."""
        _ = self.source

    def setup(self, stage: str | None = None) -> None:
        """Read and check the splits of a stage, and make their transforms.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``; None: what ``fit`` needs.
        """
        self._check_network()
        roles = {"validate": ["val"], "test": ["test"], "predict": ["predict"]}
        self._validates = self.trainer is None or self.trainer.limit_val_batches != 0
        fit = ["train", "val"] if self._validates else ["train"]
        for role in roles.get(stage or "fit", fit):
            self._rows[role] = self._make_rows(role)

    def train_dataloader(self) -> DataLoader[Example]:
        """Shuffled batches; an incomplete last one is dropped, unless it is the only one."""
        ranks = self.trainer.world_size if self.trainer else 1
        whole = self._images_per_rank(ranks) >= self.batch_size
        return self._loader("train", self.batch_size, shuffle=True, drop_last=whole)

    def val_dataloader(self) -> DataLoader[Example]:
        """Batches of the validation split, in order."""
        return self._loader("val", self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Example]:
        """Batches of the test split, in order."""
        return self._loader("test", self.eval_batch_size)

    def predict_dataloader(self) -> DataLoader[Example]:
        """Batches of the test split, in order, with row numbers."""
        return self._loader("predict", self.eval_batch_size)

    def test_image(self, row: int) -> Image.Image:
        """Return an image of the test split as it is, before any transform."""
        return self._rows_of("predict").image(row)

    def describe(self) -> dict[str, Any]:
        """Say what the data is, as plain JSON types, for checkpoints and model cards."""
        card, local = self.source.card, self.source.hub_id is None
        licence = card.get("license")
        return {
            "name": str(card.get("pretty_name") or Path(str(self.path)).resolve().name),
            "path": self.path if local else None,
            "hub_id": self.source.hub_id,
            "revision": self.source.revision,
            "license": ", ".join(licence) if isinstance(licence, list) else licence,
            "sources": [str(name) for name in card.get("source_datasets") or []],
            "train": self._describe_split("train"),
            "val": self._describe_split("val") if self._has_val() else None,
        }

    def _has_val(self) -> bool:
        given = self._val_split or self.val_fraction
        return self._validates and bool(given or {*VAL_SPLITS} & {*self.source.splits})

    def _describe_split(self, role: str) -> dict[str, Any]:
        return {"split": self._split_of(role), "images": len(self._rows_of(role))}

    def _network(self) -> Any:
        return getattr(self.trainer and self.trainer.lightning_module, "model", None)

    def _check_network(self) -> None:
        classes = getattr(self._network(), "num_classes", 0)
        if classes and classes < self.num_classes:
            raise UserError(
                f"The model has {classes} classes, {self.source.title} has {self.num_classes}. "
                f"Create the model with num_classes={self.num_classes}."
            )

    def _images_per_rank(self, ranks: int) -> int:
        return math.ceil(len(self._rows_of("train")) / ranks)

    def _rows_of(self, role: str) -> ImageRows:
        if role not in self._rows:
            self._rows[role] = self._make_rows(role)
        return self._rows[role]

    def _split_of(self, role: str) -> str:
        if role == "val":
            return f"{self.train_split} (held out)" if self.val_fraction else self.val_split
        return self.train_split if role == "train" else self.test_split

    def _make_rows(self, role: str) -> ImageRows:
        config, train = self.data_config, role == "train"
        split, held_out = self._split_of(role), None
        if self.val_fraction and role in ("train", "val"):
            split, held_out = self.train_split, (self.val_fraction, role == "val")
        return self.images.rows(
            split,
            train_transform(config, self.augment) if train else eval_transform(config),
            mode="RGB" if config["input_size"][0] == 3 else "L",
            held_out=held_out,
            predict=role == "predict",
        )

    def _loader(self, role: str, batch_size: int, **options: bool) -> DataLoader[Example]:
        rows = self._rows_of(role)
        return make_loader(rows, batch_size, self.num_workers, self.pin_memory, **options)
