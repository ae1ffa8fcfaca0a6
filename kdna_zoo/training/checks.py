"""Checks that a network and what it is used with belong together."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from kdna_zoo.errors import UserError

SHOWN = 3  # this many keys of a kind are named in an error


def check_checkpoint(checkpoint: Mapping[str, Any], module: nn.Module, arch: str) -> None:
    """Check that a checkpoint holds this module's weights, before any of them is loaded.

    Raises:
        UserError: If it is of another network; both are named.
    """
    own, found = module.state_dict(), checkpoint["state_dict"]
    missing = [key for key in own if key not in found]
    unknown = [key for key in found if key not in own]
    reshaped = [key for key in own if key in found and own[key].shape != found[key].shape]
    if not missing and not unknown and not reshaped:
        return
    record = checkpoint.get("kdna_zoo") or {}
    theirs = f"{record.get('arch', 'unknown')} with {record.get('num_classes', 'unknown')} classes"
    details = [
        f"{what}: {', '.join(keys[:SHOWN])}{' ...' if len(keys) > SHOWN else ''}"
        for what, keys in (("missing", missing), ("unknown", unknown), ("other shape", reshaped))
        if keys
    ]
    raise UserError(
        f"the checkpoint is of another network than this run's {arch}: it holds {theirs}, made "
        f"with the arguments {record.get('arch_args', 'unknown')} ({'; '.join(details)}). Give the "
        "recipe that it was trained with, or its --model.arch, --model.arch_args and data"
    )


def check_head(network: Any, num_classes: int, label_names: list[str] | None) -> None:
    """Check that a published network is evaluated on its own classes.

    timm gives a network a new, random head where the number of classes differs.

    Raises:
        UserError: If the number of classes or their names differ.
    """
    published = network.pretrained_cfg
    if published["num_classes"] != num_classes:
        raise UserError(
            f"the published network has {published['num_classes']} classes and the data "
            f"{num_classes}, so its head would be random; evaluate it on its own classes (is "
            "--data.path right?), or train a new head with `kdna-zoo fit`"
        )
    names = published.get("label_names")
    if names and label_names and list(names) != list(label_names):
        differs = next(i for i, pair in enumerate(zip(names, label_names, strict=True))
                       if pair[0] != pair[1])  # fmt: skip
        raise UserError(
            f"the published network's classes are not the data's: class {differs} is "
            f"{names[differs]!r} there and {label_names[differs]!r} here (is --data.path right?)"
        )


def warn_of_random_weights() -> None:
    """Say that what follows is measured on an untrained network."""
    rank_zero_warn(
        "this network has random weights: give --ckpt_path, or --model.pretrained true where there "
        "are published weights"
    )
