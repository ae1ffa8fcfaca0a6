"""Holding images out of a training split to validate on."""

import numpy as np
from numpy.typing import NDArray


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
