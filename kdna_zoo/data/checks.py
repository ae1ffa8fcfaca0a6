"""Checks of the data module's options, before anything is opened."""

from collections.abc import Mapping
from typing import Any

from kdna_zoo.errors import UserError

AT_LEAST = {
    "batch_size": 1,
    "num_workers": 0,
    "num_classes": 1,
}


def check_options(given: Mapping[str, Any]) -> None:
    """Raise a `UserError` for a number that cannot be, or options that exclude each other.

    Args:
        given: The arguments of the data module, by name.
    """
    for name, least in AT_LEAST.items():
        if given[name] is not None and given[name] < least:
            raise UserError(f"{name} must be at least {least}, got {given[name]}")
    fraction = given["val_fraction"]
    if fraction is not None and not 0 < fraction < 1:
        raise UserError(f"val_fraction must be above 0 and below 1, got {fraction}")
    if given["streaming"] and fraction is not None:
        raise UserError(
            "val_fraction holds rows out, and a stream has none: name a val_split, or set "
            "streaming to false."
        )
    if given["stream"] is not None and not given["streaming"]:
        raise UserError(
            "stream says how to stream: set streaming to true, or leave stream out (null)"
        )


def check_classes(network: Any, classes: int, title: str) -> None:
    """Raise a `UserError` if a network has fewer outputs than the data has classes."""
    outputs = getattr(network, "num_classes", 0)
    if outputs and outputs < classes:
        raise UserError(
            f"The model has {outputs} classes, {title} has {classes}. "
            f"Create the model with num_classes={classes}."
        )
