"""The networks; importing this package registers their names with timm."""

from kdna_zoo.models.kdna_mobilenetv2 import kdna_mobilenetv2, kdna_mobilenetv2_050
from kdna_zoo.models.kdna_resnet import kdna_resnet18, kdna_resnet50, test_kdna_resnet

__all__ = [
    "kdna_mobilenetv2",
    "kdna_mobilenetv2_050",
    "kdna_resnet18",
    "kdna_resnet50",
    "test_kdna_resnet",
]
