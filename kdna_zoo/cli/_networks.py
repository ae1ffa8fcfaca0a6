"""What the commands ask of networks beside creating them."""

import sys
from collections.abc import Iterable
from typing import Any

from torch import nn

from kdna_zoo.models import creation
from kdna_zoo.models.creation import check_name
from kdna_zoo.names import LOCATED

__all__ = ["LOCATED", "check_name", "create_network", "input_size", "say_random"]


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
