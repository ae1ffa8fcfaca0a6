"""Creating the network to train, by timm's own factory."""

import difflib
from typing import Any

import timm
from torch import nn

import kdna_zoo  # noqa: F401  registers the kdna_* names with timm
from kdna_zoo.errors import UserError


def create_network(
    arch: str, pretrained: bool, num_classes: int, arch_args: dict[str, Any]
) -> nn.Module:
    """Return ``timm.create_model(arch, ...)``.

    Raises:
        UserError: If timm knows no such name (the nearest names are given).
    """
    if ":" not in arch and not timm.is_model(arch):
        near = difflib.get_close_matches(arch.split(".")[0], timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
        raise UserError(f"timm knows no network named {arch!r}; {hint}")
    return timm.create_model(arch, pretrained=pretrained, num_classes=num_classes, **arch_args)
