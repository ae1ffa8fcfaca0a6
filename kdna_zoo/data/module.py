"""`ImageData`: labelled images from anywhere `datasets` reads, batched for a timm network."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader

from kdna_zoo.data import loaders
from kdna_zoo.data.checks import check_classes, check_options
from kdna_zoo.data.labelled import LabelledImages
from kdna_zoo.data.making import ImageMaker
from kdna_zoo.data.options import (
    GROUP_OF,
    ColumnOptions,
    LoaderOptions,
    PreprocessOptions,
    SourceOptions,
    with_flat,
)
from kdna_zoo.data.resumable import ResumableData
from kdna_zoo.data.rows import Example, ImageRows
from kdna_zoo.data.sampler import images_per_process, processes
from kdna_zoo.data.sources.found import say_what_was_found
from kdna_zoo.data.sources.opening import open_source
from kdna_zoo.data.sources.source import Source
from kdna_zoo.data.splits import Splits, describe_data
from kdna_zoo.data.stream import ImageStream, StreamOptions
from kdna_zoo.data.stream_loader import StreamLoader
from kdna_zoo.data.transforms import input_channels, resolve_config
from kdna_zoo.records.record import DATA_CONFIG_KEYS

log = logging.getLogger(__name__)

SOURCE, COLUMNS = SourceOptions(), ColumnOptions()
PREPROCESS, LOADER = PreprocessOptions(), LoaderOptions()


class ImageData(ResumableData):
    """Images and labels for classification.

    A batch is ``(images, labels)``: images (N, 3, H, W) float32, normalised; labels (N,) int64.
    A batch to predict on is ``(images, labels, rows)``, where a row without label has label -1.

    The data config (input size, mean, std, interpolation, crop) is timm's; what is not given here
    comes from the network's ``pretrained_cfg``, so that training, evaluation and the published
    config agree.

    Args:
        path: A Hub id, an image folder, a folder of parquet files or one parquet file, as
            docs/data.md has it; None: the embedded Fashion-MNIST sample.
        train_split: The split to train on; slices such as ``train[:90%]`` work, here and below.
        val_split: The split to validate on; None: validation, val or test, the first there is.
        test_split: The split to test and predict on; None: test, validation or val.
        val_fraction: Part of each class of the training split to hold out and validate on, the
            same in every run; None: validate on `val_split`.
        num_classes: Number of classes; None: as many as the data set has.
        batch_size: Images in a training batch, on each device.
        num_workers: Processes that load, on each device; 0: the training process itself.
        input_size: Channels (3, or 1 for grey), height and width of the network's input.
        augment: Arguments of `timm.data.create_transform` for training, such as scale or re_prob.
            Also ``repeats`` of each drawn image (repeated augmentation), and ``splits``: views of
            it, the first clean (AugMix).
        streaming: Whether to read the data while training, without a copy on disk first. Whole
            splits only, and nothing to predict on. A resumed run reads its epoch again.
        stream: How to stream.
        source: Which data set is read, beside its path.
        columns: Where images and labels are, and what the labels mean.
        preprocess: How images become the network's input, beside its size.
        loader: How images are loaded.
        **flat: Options of the four groups before, without the group's name.
    """

    flat_options = GROUP_OF

    def __init__(
        self,
        path: str | None = None,
        train_split: str = "train",
        val_split: str | None = None,
        test_split: str | None = None,
        val_fraction: float | None = None,
        num_classes: int | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        input_size: tuple[int, int, int] | None = None,
        augment: dict[str, Any] | None = None,
        streaming: bool = False,
        stream: StreamOptions | None = None,
        source: SourceOptions = SOURCE,
        columns: ColumnOptions = COLUMNS,
        preprocess: PreprocessOptions = PREPROCESS,
        loader: LoaderOptions = LOADER,
        **flat: Any,
    ) -> None:
        super().__init__()
        check_options(locals())
        groups = {"source": source, "columns": columns, "preprocess": preprocess, "loader": loader}
        self._place, self._columns, preprocess, self._loading = with_flat(groups, flat)
        self.path = path
        self.train_split = train_split
        self.val_split = val_split
        self.test_split = test_split
        self.val_fraction = val_fraction
        self._num_classes = num_classes
        self.batch_size = batch_size
        self.eval_batch_size = self._loading.eval_batch_size or batch_size
        self.num_workers = num_workers
        pinned = self._loading.pin_memory
        self.pin_memory = torch.cuda.is_available() if pinned is None else pinned
        self._options: dict[str, Any] = {"num_workers": num_workers, "pin_memory": self.pin_memory}
        given = {"input_size": input_size, **asdict(preprocess)}
        self._given_config = {key: given[key] for key in DATA_CONFIG_KEYS}
        self.augment = augment
        self.streaming = streaming
        self.stream = stream or StreamOptions()
        self._told = False
        self._validates = True
        self._images: dict[str, ImageRows | ImageStream] = {}

    @cached_property
    def source(self) -> Source:
        """The data set; opened on first use."""
        place, columns = self._place, self._columns
        where = (self.path, place.name, place.revision, place.cache_dir)
        return open_source(*where, self.streaming, columns.label_column, columns.class_folders)

    @cached_property
    def images(self) -> LabelledImages:
        """The data set with its columns and classes settled."""
        return LabelledImages(
            self.source,
            self.train_split,
            self._columns.image_column,
            self._columns.label_column,
            self._num_classes,
            self._columns.label_names,
            self._columns.learnt_names,
        )

    @property
    def num_classes(self) -> int:
        """Number of classes; known before `setup`, so that a command line can link it."""
        return len(self.images.classes.names)

    @property
    def label_names(self) -> list[str]:
        """The name of each class, by index."""
        return self.images.classes.names

    @cached_property
    def splits(self) -> Splits:
        """The split of each role."""
        named = (self.train_split, self.val_split, self.test_split)
        return Splits(self.source, *named, self.val_fraction)

    @property
    def data_config(self) -> dict[str, Any]:
        """What timm's `resolve_data_config` settles on, as plain JSON types."""
        network = self._network()
        own = getattr(network, "pretrained_cfg", {})
        return resolve_config(self._given_config, own, input_channels(network))

    @property
    def train_batches(self) -> int:
        """Batches of one epoch on one device, counted without building a loader."""
        batches = max(self._images_per_rank // self.batch_size, 1)
        limit = self.trainer.limit_train_batches if self.trainer else 1.0
        return min(batches, limit) if isinstance(limit, int) else int(batches * limit)

    @property
    def bad_images(self) -> dict[str, int]:
        """How many images each role has skipped so far, on this device."""
        return {role: n for role, images in self._images.items() if (n := images.bad.count)}

    def prepare_data(self) -> None:
        """Download and prepare the data, in one process on each machine."""
        _ = self.source

    def setup(self, stage: str | None = None) -> None:
        """Read and check the splits of a stage, and make their transforms.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``; None: what ``fit`` needs.
        """
        if not self._told:
            say_what_was_found(self.images)
            self._told = True
        check_classes(self._network(), self.num_classes, self.source.title)
        roles = {"validate": ["val"], "test": ["test"], "predict": ["predict"]}
        self._validates = self.trainer is None or self.trainer.limit_val_batches != 0
        fit = ["train", "val"] if self._validates else ["train"]
        for role in roles.get(stage or "fit", fit):
            _ = self._images_of(role)
        self._resume_state.settle(self.trainer)

    def teardown(self, stage: str | None = None) -> None:
        """Report the images that were skipped."""
        for role, count in self.bad_images.items():
            split = self.splits.title(role)
            log.warning("Skipped %d unreadable images of split %r (%s)", count, split, role)

    def train_dataloader(self) -> DataLoader[Example] | StreamLoader:
        """Shuffled batches, from where an interrupted run stood; no incomplete one at the end."""
        images, size, trainer = self._images_of("train"), self.batch_size, self.trainer
        start, seed = self.start(), self.seed
        if isinstance(images, ImageRows):
            return loaders.make_training_loader(images, size, seed, start, trainer, **self._options)
        count, options = self._images_per_rank, self._options
        return loaders.make_stream_loader(images, size, count, seed, start, trainer, **options)

    def val_dataloader(self) -> DataLoader[Example]:
        """Batches of the validation split, in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Example]:
        """Batches of the test split, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Example]:
        """Batches of the test split, in order, with row numbers."""
        return self._loader("predict")

    def file_names(self, rows: Sequence[int]) -> list[str]:
        """Return the file or id of rows of the test split, '' where there is none."""
        images = self._images_of("predict")
        assert isinstance(images, ImageRows), "nothing is predicted on a stream"
        return images.file_names(rows)

    def test_image(self, row: int) -> Image.Image:
        """Return an image of the test split as it is, before any transform."""
        rows = self._images_of("predict")
        assert isinstance(rows, ImageRows), "nothing is predicted on a stream"
        return rows.image(row)

    def describe(self) -> dict[str, Any]:
        """Say what the data is, as plain JSON types, for checkpoints and model cards."""
        roles = ["train", "val"] if self._validates and self.splits.has_val() else ["train"]
        sizes = {role: (self.splits.title(role), self._count(role)) for role in roles}
        return describe_data(self.source, self.path, sizes)

    def _network(self) -> Any:
        return getattr(self.trainer and self.trainer.lightning_module, "model", None)

    @property
    def _images_per_rank(self) -> int:
        origin = f"split {self.train_split!r} of {self.source.title}"
        return images_per_process(self._count("train"), self.trainer, origin)

    def _count(self, role: str) -> int | None:
        images = self._images_of(role)
        return images.images if isinstance(images, ImageStream) else len(images)

    def _images_of(self, role: str) -> ImageRows | ImageStream:
        if role not in self._images:
            maker = ImageMaker(
                self.images,
                self.splits,
                self.data_config,
                self.augment,
                skip_bad=self._loading.on_bad_image == "skip",
                bad_limit=self._loading.bad_image_limit,
                stream=self.stream if self.streaming else None,
                share=processes(self.trainer),
            )
            self._images[role] = maker.make(role)
        return self._images[role]

    def _loader(self, role: str) -> DataLoader[Example]:
        images, share = self._images_of(role), processes(self.trainer)
        return loaders.make_evaluation_loader(images, self.eval_batch_size, *share, **self._options)

    def batches_depend_on(self) -> dict[str, int | str | None]:
        """See `ResumableData`."""
        stream = self.stream.batches_depend_on(self.num_workers) if self.streaming else {}
        made_of = {"images": self._count("train"), "batch_size": self.batch_size}
        return {**made_of, "devices": processes(self.trainer)[1], **stream}
