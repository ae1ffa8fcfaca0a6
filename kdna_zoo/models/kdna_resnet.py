"""KernelDNA ResNets.

Source: KernelDNA, arXiv 2503.23379. Layers of stages 3 and 4 share; the networks are deeper than
their namesakes there, ResNet-18 with (2, 2, 3, 3) and ResNet-50 with (3, 4, 7, 3) blocks.
"""

from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, resnet18, resnet50
from torch import nn

from kdna_zoo.models._builder import build_kdna, default_cfg
from kdna_zoo.sharing import SharingPlan, basic_block_plan, bottleneck_plan

_RESNET = {"first_conv": "conv1", "classifier": "fc"}

default_cfgs = generate_default_cfgs(
    {
        "kdna_resnet18": default_cfg(**_RESNET),
        "kdna_resnet50": default_cfg(**_RESNET),
        "test_kdna_resnet": default_cfg(input_size=(3, 64, 64), pool_size=(2, 2), **_RESNET),
    }
)


def _make_plan(model: nn.Module) -> SharingPlan:
    stages = {stage: model.get_submodule(stage) for stage in ("layer3", "layer4")}
    depths = {path: len(list(stage.children())) for path, stage in stages.items()}
    basic = isinstance(model.get_submodule("layer3.0"), BasicBlock)
    return basic_block_plan(depths) if basic else bottleneck_plan(depths)


@register_model
def kdna_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA ResNet-18, depths (2, 2, 3, 3): 9,240,798 parameters with 1,000 classes."""
    args = {"layers": (2, 2, 3, 3), **kwargs}
    return build_kdna("kdna_resnet18", resnet18, _make_plan, pretrained, **args)


@register_model
def kdna_resnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA ResNet-50, depths (3, 4, 7, 3): 22,778,060 parameters with 1,000 classes."""
    args = {"layers": (3, 4, 7, 3), **kwargs}
    return build_kdna("kdna_resnet50", resnet50, _make_plan, pretrained, **args)


@register_model
def test_kdna_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Tiny KernelDNA ResNet of basic blocks, for tests."""
    args = {"layers": (1, 1, 2, 2), "stem_width": 8, "channels": (8, 8, 16, 16), **kwargs}
    return build_kdna("test_kdna_resnet", resnet18, _make_plan, pretrained, **args)
