"""Checks that a network and what it is used with belong together."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from kdna_zoo.errors import UserError
from kdna_zoo.records.checkpoints import describe_mismatch


def check_checkpoint(checkpoint: Mapping[str, Any], module: nn.Module, arch: str) -> None:
    """Check that a checkpoint holds this module's weights, before any of them is loaded.

    Raises:
        UserError: If it is of another network; both are named.
    """
    differs = describe_mismatch(checkpoint["state_dict"], module.state_dict())
    if not differs:
        return
    record = checkpoint.get("kdna_zoo") or {}
    theirs = f"{record.get('arch', 'unknown')} with {record.get('num_classes', 'unknown')} classes"
    raise UserError(
        f"the checkpoint is of another network than this run's {arch}: it holds {theirs}, made "
        f"with the arguments {record.get('arch_args', 'unknown')} ({differs}). Give the "
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
    check_label_names(published.get("label_names"), label_names, "the published network")


def check_label_names(
    names: Sequence[str] | None, label_names: Sequence[str] | None, owner: str
) -> None:
    """Check that weights are evaluated on classes of the names that they learnt.

    Args:
        names: Those that they learnt; None: unknown.
        label_names: Those of the data; None: unknown.
        owner: What has the weights, for the message.

    Raises:
        UserError: If they differ; the first such class is named.
    """
    for index, (theirs, ours) in enumerate(zip(names or (), label_names or (), strict=False)):
        if theirs != ours and str(index) not in (theirs, ours):  # a number is no name
            raise UserError(
                f"{owner}'s classes are not the data's: class {index} is {theirs!r} there and "
                f"{ours!r} here (is --data.path right?)"
            )


def check_evaluation(module: Any) -> None:
    """Check that what is evaluated without training are real weights on their own classes.

    To be asked when the evaluation begins: Lightning says only then whether there is a checkpoint,
    whose weights are checked as they are loaded.

    Args:
        module: A `BaseTask` with its trainer.

    Raises:
        UserError: If the published network is not for these data.
    """
    if module.trainer.ckpt_path is not None:
        return
    if module.pretrained:
        module.check_published()
    else:
        rank_zero_warn(
            "this network has random weights: give --ckpt_path, or --model.pretrained true where "
            "there are published weights"
        )
