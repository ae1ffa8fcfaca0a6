"""What the networks take from timm's private parts, each in one place.

`tests/models/test_compat.py` fails on the day timm has it in public, or has changed it.
"""

from collections.abc import Mapping
from typing import Any

from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from torch import nn

__all__ = [
    "DepthwiseSeparableConv",
    "InvertedResidual",
    "record_arguments",
    "recorded_arguments",
]


def record_arguments(network: nn.Module, arguments: Mapping[str, Any]) -> None:
    """Let timm write arguments into a network's config, and give them back when it is loaded.

    ``timm.create_model`` records what a user gives; a default of ours that has to stay is none.
    """
    network._model_args = dict(arguments)  # type: ignore[assignment]


def recorded_arguments(network: nn.Module) -> dict[str, Any]:
    """Return the arguments that timm recorded as it created a network."""
    arguments: Any = network._model_args
    return dict(arguments)
