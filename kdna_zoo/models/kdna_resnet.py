"""KernelDNA ResNets.

Source: KernelDNA, arXiv 2503.23379. Layers of stages 3 and 4 share; ResNet-18 and ResNet-50 are
deeper than their namesakes there, with (2, 2, 3, 3) and (3, 4, 7, 3) blocks. ResNet-34 and
ResNet-101 are not published: they follow the same rules at their own depths.
"""

from typing import Any

from timm.models import register_model
from timm.models.resnet import BasicBlock, resnet18, resnet34, resnet50, resnet101
from torch import nn

from kdna_zoo.models._builder import build_kdna, count_blocks, default_cfg, make_default_cfgs
from kdna_zoo.sharing import SharingPlan, alternate_blocks_plan, basic_block_plan

_RESNET = {"first_conv": "conv1", "classifier": "fc"}

default_cfgs = make_default_cfgs(
    {
        "kdna_resnet18": default_cfg(**_RESNET),
        "kdna_resnet34": default_cfg(**_RESNET),
        "kdna_resnet50": default_cfg(**_RESNET),
        "kdna_resnet101": default_cfg(**_RESNET),
        "test_kdna_resnet": default_cfg(input_size=(3, 64, 64), pool_size=(2, 2), **_RESNET),
    }
)


def _make_plan(network: nn.Module) -> SharingPlan:
    depths = count_blocks(network, "layer3", "layer4")
    if isinstance(network.get_submodule("layer3.0"), BasicBlock):
        return basic_block_plan(depths)
    return alternate_blocks_plan(depths, {"conv2": 4})


@register_model
def kdna_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA ResNet-18, depths (2, 2, 3, 3): 9,240,798 parameters with 1,000 classes."""
    args = {"layers": (2, 2, 3, 3), **kwargs}
    return build_kdna("kdna_resnet18", resnet18, _make_plan, pretrained, **args)


@register_model
def kdna_resnet34(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA ResNet-34, depths (3, 4, 6, 3): 11,778,425 parameters with 1,000 classes."""
    return build_kdna("kdna_resnet34", resnet34, _make_plan, pretrained, **kwargs)


@register_model
def kdna_resnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA ResNet-50, depths (3, 4, 7, 3): 22,778,060 parameters with 1,000 classes."""
    args = {"layers": (3, 4, 7, 3), **kwargs}
    return build_kdna("kdna_resnet50", resnet50, _make_plan, pretrained, **args)


@register_model
def kdna_resnet101(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA ResNet-101, depths (3, 4, 23, 3): 36,201,748 parameters with 1,000 classes."""
    return build_kdna("kdna_resnet101", resnet101, _make_plan, pretrained, **kwargs)


@register_model
def test_kdna_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Tiny KernelDNA ResNet of basic blocks, for tests."""
    args = {"layers": (1, 1, 2, 2), "stem_width": 8, "channels": (8, 8, 16, 16), **kwargs}
    return build_kdna("test_kdna_resnet", resnet18, _make_plan, pretrained, **args)
