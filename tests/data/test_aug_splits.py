"""Several views of each image in a batch, and repeated augmentation."""

from typing import Any

import pytest
import torch
from timm.data.transforms_factory import create_transform
from timm.loss import JsdCrossEntropy

from kdna_zoo.data import ImageData
from kdna_zoo.data.rows import ImageRows
from kdna_zoo.data.sampler import TrainingOrder
from kdna_zoo.data.transforms import Views
from kdna_zoo.errors import UserError

SMALL: dict[str, Any] = {"input_size": (3, 28, 28), "crop_pct": 1.0, "train_split": "train[:16]"}
STILL = {"scale": [1.0, 1.0], "ratio": [1.0, 1.0], "hflip": 0.0, "color_jitter": None}


def test_first_view_of_all_images_then_the_next_view_of_all() -> None:
    augment: dict[str, Any] = {**STILL, "auto_augment": "augmix-m9-w3", "splits": 3}
    data = ImageData(**SMALL, batch_size=8, augment=augment)
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (24, 3, 28, 28)
    assert torch.equal(labels, labels[:8].repeat(3))
    clean, second, third = torch.chunk(images, 3)
    plain = ImageData(**SMALL, batch_size=16, augment=STILL)
    whole = next(iter(plain.train_dataloader()))[0]
    known = {tuple(image.flatten().tolist()) for image in whole}
    assert all(tuple(image.flatten().tolist()) in known for image in clean)
    assert not torch.equal(clean, second)
    assert not torch.equal(second, third)
    loss = JsdCrossEntropy(num_splits=3)(torch.randn(24, 10), labels)  # type: ignore[no-untyped-call]
    assert loss.isfinite()


def test_the_parts_are_timms() -> None:
    data = ImageData(**SMALL, augment={"auto_augment": "rand-m9", "splits": 2})
    rows = data._images_of("train")
    assert isinstance(rows, ImageRows)
    views = rows.transform
    assert isinstance(views, Views)
    config = data.data_config
    timms = create_transform(**config, is_training=True, auto_augment="rand-m9", separate=True)
    assert [str(part) for part in (views.crop, views.augment, views.finish)] == [
        str(part) for part in timms
    ]


@pytest.mark.parametrize("key", ["splits", "repeats"])
def test_what_cannot_be(key: str) -> None:
    with pytest.raises(
        UserError, match=rf"augment\.{key} must be a whole number of 1 or more, got 0"
    ):
        ImageData(**SMALL, augment={key: 0}).setup("fit")
    with pytest.raises(UserError, match=rf"augment\.{key} needs rows, which a stream has none of"):
        ImageData(input_size=(3, 28, 28), augment={key: 2}, streaming=True).setup("fit")


def test_views_without_augmentation() -> None:
    with pytest.raises(UserError, match="Cannot perform split augmentation with no_aug"):
        ImageData(**SMALL, augment={"no_aug": True, "splits": 2}).setup("fit")


@pytest.mark.parametrize("ranks", [1, 2])
def test_repeated_images_are_augmented_anew(ranks: int) -> None:
    orders = [TrainingOrder(12, 3, rank, ranks, repeats=3) for rank in range(ranks)]
    draws = [draw for several in zip(*map(list, orders), strict=True) for draw in several]
    rows, seeds = zip(*draws, strict=True)
    assert len(draws) == len(set(seeds)) == 12, "an epoch has as many draws"
    assert [rows[i : i + 3] for i in range(0, 12, 3)] == [3 * (row,) for row in rows[::3]]
    assert len(set(rows)) == 4


def test_repeats_from_the_data_module() -> None:
    data = ImageData(**SMALL, batch_size=16, augment={"repeats": 2})
    images, labels = next(iter(data.train_dataloader()))
    assert torch.equal(labels[::2], labels[1::2])
    assert not torch.equal(images[::2], images[1::2])
