"""What the commands ask of networks beside creating them."""

import sys
from collections.abc import Iterable
from typing import Any

import timm
from torch import nn

from kdna_zoo.cli._network_table import Row
from kdna_zoo.models import creation
from kdna_zoo.models.creation import check_name
from kdna_zoo.models.macs import count_macs
from kdna_zoo.names import LOCATED
from kdna_zoo.sharing import audit

__all__ = ["LOCATED", "check_name", "create_network", "describe", "input_size", "say_random"]


def create_network(
    name: str, pretrained: bool | None = None, device: str = "cpu", **arguments: Any
) -> nn.Module:
    """Return `kdna_zoo.models.creation.create_network` in eval mode."""
    return creation.create_network(name, pretrained, device, **arguments).eval()


def say_random(names: Iterable[str]) -> None:
    """Say of networks that they have random weights, before anything else is said of them."""
    if named := ", ".join(dict.fromkeys(names)):
        print(
            f"kdna-zoo: RANDOM WEIGHTS in {named}, the name of an architecture; give --pretrained, "
            "or a name that stands for weights: NAME.TAG, hf-hub:ORG/NAME or local-dir:FOLDER",
            file=sys.stderr,
        )


def input_size(model: nn.Module) -> tuple[int, ...]:
    """Return the network's own input size: channels, height and width."""
    config: dict[str, tuple[int, ...]] = model.pretrained_cfg  # type: ignore[assignment]
    return tuple(config["input_size"])


def describe(name: str) -> Row:
    """Count what a registered network has and does; nothing is computed."""
    model = create_network(name, device="meta")
    base = getattr(model, "base_arch", None)
    return Row(
        name=name,
        parameters=_count(model),
        own_kernels=sum(layer.own + layer.shared for layer in audit(model)),
        base=base,
        base_parameters=_count(create_network(base, device="meta")) if base else None,
        macs=count_macs(model, input_size(model)),
        input_size=input_size(model),
        weights=tuple(timm.list_pretrained(name)),
    )


def _count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())
