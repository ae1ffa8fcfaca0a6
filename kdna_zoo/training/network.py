"""Creating the network to train, by timm's own factory."""

from typing import Any

import timm
from torch import nn

import kdna_zoo  # noqa: F401  registers the kdna_* names with timm
from kdna_zoo.errors import UserError, did_you_mean


def create_network(
    arch: str, pretrained: bool, num_classes: int, arch_args: dict[str, Any]
) -> nn.Module:
    """Return ``timm.create_model(arch, ...)``.

    Raises:
        UserError: If timm knows no such name (the nearest names are given), or cannot build it or
            load its weights as asked.
    """
    if "num_classes" in arch_args:
        raise UserError("the number of classes is the data's: set data.num_classes, not arch_args")
    if ":" not in arch and not timm.is_model(arch):
        names = timm.list_models()
        hint = did_you_mean(arch.split(".")[0], names, "timm.list_models() lists them all")
        raise UserError(f"timm knows no network named {arch!r}; {hint}")
    try:
        return timm.create_model(arch, pretrained, num_classes=num_classes, **arch_args)
    except (TypeError, ValueError, RuntimeError, AssertionError, OSError) as error:
        weights = " with its weights" if pretrained else ""
        raise UserError(
            f"timm cannot create {arch!r}{weights} and the arguments {arch_args}: {error}"
        ) from error
