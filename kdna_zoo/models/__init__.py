"""The networks; importing this package registers their names with timm."""

from kdna_zoo.models import (
    kdna_any,
    kdna_convnext,
    kdna_kw,
    kdna_mobilenetv2,
    kdna_peers,
    kdna_resnet,
)

__all__ = ["kdna_any", "kdna_convnext", "kdna_kw", "kdna_mobilenetv2", "kdna_peers", "kdna_resnet"]
