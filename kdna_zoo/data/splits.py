"""Which split each role takes: train, val, test, predict."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdna_zoo.data.sources.source import Source

VAL_SPLITS = ("validation", "val", "test")
TEST_SPLITS = ("test", "validation", "val")


@dataclass(frozen=True)
class Splits:
    """The splits of a data set by role.

    Attributes:
        source: The data set.
        train: The split to train on.
        val: The split to validate on; None: the first there is of `VAL_SPLITS`.
        test: The split to test and predict on; None: the first there is of `TEST_SPLITS`.
        val_fraction: Part of each class of the training split to validate on instead, and to test
            and predict on where there is no split for that; None: none.
    """

    source: Source
    train: str
    val: str | None = None
    test: str | None = None
    val_fraction: float | None = None

    def of(self, role: str) -> str:
        """Name the split that a role reads."""
        if role == "train" or self.held_out(role):
            return self.train
        if role == "val":
            return self.val or self.source.first_split("val_split", VAL_SPLITS)
        return self.test or self.source.first_split("test_split", TEST_SPLITS)

    def held_out(self, role: str) -> tuple[float, bool] | None:
        """Tell the part held out and whether the role is what takes it; None: whole splits."""
        if not self.val_fraction or not (role in ("train", "val") or self._lacks_test()):
            return None
        return self.val_fraction, role != "train"

    def _lacks_test(self) -> bool:
        return not self.test and not {*TEST_SPLITS} & {*self.source.splits}

    def title(self, role: str) -> str:
        """Name a role's split for a reader."""
        held = self.held_out(role)
        return f"{self.of(role)} (held out)" if held and held[1] else self.of(role)

    def has_val(self) -> bool:
        """Whether there is something to validate on."""
        return bool(self.val or self.val_fraction or {*VAL_SPLITS} & {*self.source.splits})


def hold_out(
    labels: NDArray[np.int64], fraction: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into training and validation rows, of each class alike.

    The choice depends on the labels alone, so that every run, seed and process makes the same one.
    A class with a single image keeps it for training.

    Args:
        labels: Class index of each row.
        fraction: Part of each class to hold out, above 0 and below 1.

    Returns:
        Training rows and validation rows, each in ascending order.
    """
    rng = np.random.default_rng(0)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held[rows[: min(max(round(fraction * len(rows)), 1), len(rows) - 1)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def describe_data(
    source: Source, path: str | None, sizes: Mapping[str, tuple[str, int | None]]
) -> dict[str, Any]:
    """Say what the data is, as plain JSON types.

    Args:
        source: The data set.
        path: Where the user said it is.
        sizes: For ``train``, and ``val`` where there is one, the split and its number of images.
    """
    card, local = source.card, source.hub_id is None
    licence = card.get("license")
    splits = {role: {"split": split, "images": images} for role, (split, images) in sizes.items()}
    return {
        "name": str(card.get("pretty_name") or Path(str(path)).resolve().name),
        "path": path if local else None,
        "hub_id": source.hub_id,
        "revision": source.revision,
        "license": ", ".join(licence) if isinstance(licence, list) else licence,
        "sources": [str(name) for name in card.get("source_datasets") or []],
        "train": splits["train"],
        "val": splits.get("val"),
    }
