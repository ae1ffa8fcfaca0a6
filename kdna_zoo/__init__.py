"""KernelDNA networks (arXiv 2503.23379) as a timm and Lightning model zoo.

Importing this package registers the ``kdna_*`` names with timm:

    import kdna_zoo
    import timm

    model = timm.create_model("kdna_resnet18", num_classes=10)

The ``kdna-zoo`` command does so when it needs them: its help does not wait for torch.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from kdna_zoo.version import __version__
from kdna_zoo.waiting import is_command, wait_asleep

wait_asleep()  # before torch is loaded

if TYPE_CHECKING or not is_command(sys.argv, sys.orig_argv):
    from kdna_zoo import models  # registers the networks
    from kdna_zoo.conversion import convert, suggest_plan
    from kdna_zoo.sharing import (
        PlanError,
        Share,
        SharingPlan,
        audit,
        auto_plan,
        fuse,
        share_kernels,
    )

__all__ = [
    "PlanError",
    "Share",
    "SharingPlan",
    "__version__",
    "audit",
    "auto_plan",
    "convert",
    "fuse",
    "models",
    "share_kernels",
    "suggest_plan",
]


def __getattr__(name: str) -> Any:
    """Import what the command has not needed before."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    models = importlib.import_module("kdna_zoo.models")
    if name == "models":
        return models
    room = "conversion" if name in ("convert", "suggest_plan") else "sharing"
    return getattr(importlib.import_module(f"kdna_zoo.{room}"), name)
