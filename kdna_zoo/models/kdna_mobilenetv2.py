"""KernelDNA MobileNetV2.

Source: KernelDNA, arXiv 2503.23379. The depths are MobileNetV2's own; the expansion and projection
1x1 convolutions of a stage share, the depthwise 3x3 do not.
"""

from collections.abc import Callable
from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.efficientnet import mobilenetv2_050, mobilenetv2_100
from torch import nn

from kdna_zoo.models._builder import build_kdna, default_cfg
from kdna_zoo.sharing import SharingPlan, inverted_bottleneck_plan

_MOBILENETV2 = {"first_conv": "conv_stem", "classifier": "classifier"}

default_cfgs = generate_default_cfgs(
    {
        "kdna_mobilenetv2": default_cfg(**_MOBILENETV2),
        "kdna_mobilenetv2_050": default_cfg(**_MOBILENETV2),
    }
)


def _make_plan(model: nn.Module) -> SharingPlan:
    stages = model.get_submodule("blocks").named_children()
    depths = {f"blocks.{name}": len(list(stage.children())) for name, stage in stages}
    return inverted_bottleneck_plan(depths)


def _build(variant: str, base: Callable[..., nn.Module], pretrained: bool, **kw: Any) -> nn.Module:
    return build_kdna(variant, base, _make_plan, pretrained, flatten_sequential=True, **kw)


@register_model
def kdna_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA MobileNetV2 1.0x: 3,136,840 parameters with 1,000 classes."""
    return _build("kdna_mobilenetv2", mobilenetv2_100, pretrained, **kwargs)


@register_model
def kdna_mobilenetv2_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA MobileNetV2 0.5x: 1,878,232 parameters with 1,000 classes."""
    return _build("kdna_mobilenetv2_050", mobilenetv2_050, pretrained, **kwargs)
