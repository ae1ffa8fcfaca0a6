"""KernelDNA MobileNetV2.

Source: KernelDNA, arXiv 2503.23379. The depths are MobileNetV2's own; the expansion and projection
1x1 convolutions of a stage share, the depthwise 3x3 do not. The projection sees a six times wider
input, hence its larger reduction. The 1.4x network is not published: it follows the same rule.
"""

from collections.abc import Callable
from typing import Any

from timm.models import register_model
from timm.models.efficientnet import (
    mobilenetv2_035,
    mobilenetv2_050,
    mobilenetv2_100,
    mobilenetv2_140,
)
from torch import nn

from kdna_zoo.models._builder import build_kdna, count_blocks, default_cfg, make_default_cfgs
from kdna_zoo.sharing import SharingPlan, last_block_plan

_MOBILENETV2 = {"first_conv": "conv_stem", "classifier": "classifier"}

default_cfgs = make_default_cfgs(
    {
        "kdna_mobilenetv2": default_cfg(**_MOBILENETV2),
        "kdna_mobilenetv2_050": default_cfg(**_MOBILENETV2),
        "kdna_mobilenetv2_140": default_cfg(**_MOBILENETV2),
        "test_kdna_mobilenetv2": default_cfg(
            input_size=(3, 64, 64), pool_size=(2, 2), **_MOBILENETV2
        ),
    }
)


def _make_plan(network: nn.Module) -> SharingPlan:
    stages = [f"blocks.{name}" for name, _ in network.get_submodule("blocks").named_children()]
    return last_block_plan(count_blocks(network, *stages), {"conv_pw": 4, "conv_pwl": 24})


def _build(variant: str, base: Callable[..., nn.Module], pretrained: bool, **kw: Any) -> nn.Module:
    features = {"flatten_sequential": True}
    return build_kdna(variant, base, _make_plan, pretrained, feature_cfg=features, **kw)


@register_model
def kdna_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA MobileNetV2 1.0x: 3,136,840 parameters with 1,000 classes."""
    return _build("kdna_mobilenetv2", mobilenetv2_100, pretrained, **kwargs)


@register_model
def kdna_mobilenetv2_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA MobileNetV2 0.5x: 1,878,232 parameters with 1,000 classes."""
    return _build("kdna_mobilenetv2_050", mobilenetv2_050, pretrained, **kwargs)


@register_model
def kdna_mobilenetv2_140(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA MobileNetV2 1.4x: 5,382,592 parameters with 1,000 classes."""
    return _build("kdna_mobilenetv2_140", mobilenetv2_140, pretrained, **kwargs)


@register_model
def test_kdna_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The smallest KernelDNA MobileNetV2 with children that timm builds, for tests."""
    args = {"depth_multiplier": 0.6, **kwargs}
    return _build("test_kdna_mobilenetv2", mobilenetv2_035, pretrained, **args)
