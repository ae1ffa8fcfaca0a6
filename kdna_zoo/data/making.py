"""Makes the images that a role takes: rows or a stream, with the transform it needs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdna_zoo.data.decode import BadImages
from kdna_zoo.data.labelled import LabelledImages
from kdna_zoo.data.rows import ImageRows
from kdna_zoo.data.splits import Splits
from kdna_zoo.data.stream import MAX_WORKERS, ImageStream, RankShare, Shuffling, StreamOptions
from kdna_zoo.data.transforms import DRAW_KEYS, Transform, drawn, eval_transform, train_transform
from kdna_zoo.errors import UserError


@dataclass(frozen=True)
class ImageMaker:
    """What it takes to make the images of any role.

    Attributes:
        images: The data set.
        splits: The split of each role.
        data_config: What timm's `resolve_data_config` settles on.
        augment: What the user says about augmentation.
        skip_bad: Whether to skip images that cannot be read.
        bad_limit: How many of those at most.
        stream: How to stream; None: make rows.
        share: This device's number, and how many there are.
    """

    images: LabelledImages
    splits: Splits
    data_config: Mapping[str, Any]
    augment: Mapping[str, Any] | None
    skip_bad: bool
    bad_limit: int
    stream: StreamOptions | None
    share: tuple[int, int]

    def make(self, role: str) -> ImageRows | ImageStream:
        """Make the images of ``train``, ``val``, ``test`` or ``predict``."""
        return self._rows(role) if self.stream is None else self._stream(role, self.stream)

    def _rows(self, role: str) -> ImageRows:
        return self.images.rows(
            self.splits.of(role),
            self._transform(role),
            self._mode,
            held_out=self.splits.held_out(role),
            predict=role == "predict",
            skip_bad=self.skip_bad,
            bad_limit=self.bad_limit,
            fill_up=role == "train",
            repeats=drawn(self.augment, "repeats"),
        )

    def _stream(self, role: str, options: StreamOptions) -> ImageStream:
        if role == "predict":
            raise UserError(
                "predictions go by row, which a stream has none of: set streaming to false"
            )
        for key in DRAW_KEYS:
            if drawn(self.augment, key) > 1:
                raise UserError(
                    f"augment.{key} needs rows, which a stream has none of: leave it out"
                )
        bad = BadImages(MAX_WORKERS, self.skip_bad, self.bad_limit)
        split = self.splits.of(role)
        stream = self.images.stream(split, self._transform(role), self._mode, bad)
        stream.share = RankShare(*self.share)
        if role == "train":
            stream.images = options.images_per_epoch or stream.images
            stream.share = RankShare(*self.share, by=options.share)
            seed = int(os.environ.get("PL_GLOBAL_SEED", 0))  # what `seed_everything` was given
            stream.shuffling = Shuffling(seed, options.shuffle_buffer)
        return stream

    def _transform(self, role: str) -> Transform:
        if role == "train":
            return train_transform(self.data_config, self.augment)
        return eval_transform(self.data_config)

    @property
    def _mode(self) -> str:
        return "RGB" if self.data_config["input_size"][0] == 3 else "L"
