"""KernelDNA networks (arXiv 2503.23379) as a timm and Lightning model zoo.

Importing this package registers the ``kdna_*`` names with timm:

    import kdna_zoo
    import timm

    model = timm.create_model("kdna_resnet18", num_classes=10)
"""

from kdna_zoo import models
from kdna_zoo.conversion import convert, suggest_plan
from kdna_zoo.sharing import PlanError, Share, SharingPlan, audit, auto_plan, fuse, share_kernels
from kdna_zoo.version import __version__

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
