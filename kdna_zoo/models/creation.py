"""Creating a network by the name that a user gave, with an answer when there is none."""

from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import constants
from torch import nn

import kdna_zoo  # noqa: F401  registers the names
from kdna_zoo.errors import UserError, WeightsError, did_you_mean
from kdna_zoo.finite import what_is_not_finite
from kdna_zoo.hub_errors import explain
from kdna_zoo.models.located import check_located, repository_of
from kdna_zoo.names import LOCATED, ON_THE_HUB, stands_for_weights


def create_network(
    name: str, pretrained: bool | None = None, device: str = "cpu", **arguments: Any
) -> nn.Module:
    """Return timm's network of a name.

    Args:
        name: A registered name, or ``hf-hub:`` or ``local-dir:`` and where it lies.
        pretrained: Whether to load its weights; None: if the name stands for weights, and there
            are values to load them into.
        device: Where to build it; on ``"meta"`` it takes no memory and has no values.
        **arguments: More for timm.

    Raises:
        UserError: If there is no such network (the nearest names are given), or it cannot be read.
    """
    check_name(name)
    if pretrained is None:
        pretrained = stands_for_weights(name) and device != "meta"
    check_located(name, pretrained)
    try:
        with torch.device(device):
            model: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
    except WeightsError:
        raise  # says it all
    except Exception as error:  # timm reads files that anyone may have written
        if name.startswith(ON_THE_HUB) and isinstance(error, OSError):
            where = f"config.json of {name.partition(':')[2]}"
            raise explain(error, where, constants.HF_HUB_CACHE, repository_of(name)) from error
        weights = " with its weights" if pretrained else ""
        given = {key: value for key, value in arguments.items() if key != "num_classes"}
        said = f" and the arguments {given}" if given else ""
        raise UserError(f"cannot create {name!r}{weights}{said}: {first_line(error)}") from error
    if pretrained and (unfit := what_is_not_finite(model.state_dict())):
        raise WeightsError(f"the weights of {name} have {unfit}: nobody could use them")
    return model


def check_name(name: str) -> None:
    """Check that timm knows a name, as far as can be told without reading anything.

    Raises:
        UserError: If not, with the nearest names.
    """
    if name.startswith(LOCATED) or timm.is_model(name):
        return
    if Path(name).is_dir():
        raise UserError(f"{name} is a folder; for the weights in it write local-dir:{name}")
    names = timm.list_models()
    hint = did_you_mean(name.split(".")[0], names, "timm.list_models() lists them all")
    raise UserError(f"timm knows no network named {name!r}; {hint}")


def first_line(error: Exception) -> str:
    """Return the first line of a message that may run over pages."""
    if isinstance(error, KeyError):  # its message is the key alone
        return f"no {error}"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
