"""KernelDNA ConvNeXt.

The paper (KernelDNA, arXiv 2503.23379) names ConvNeXt-T but publishes no code for it: **who shares
with whom is our own design**. In stages 3 and 4 (timm's ``stages.2`` and ``stages.3``) each odd
block takes both layers of its MLP from the next block; the depthwise 7x7 stay each block's own.
A child keeps a bias of its own, its reductions are those of MobileNetV2 (4 for the expansion, 24
for the projection, whose input is four times wider), and the norm in the channel attention is a
LayerNorm, as everywhere in ConvNeXt. The linear layers work on (N, H, W, C), with nothing permuted;
with ``conv_mlp=True`` they are 1x1 convolutions, and so are the children.
"""

from collections.abc import Callable
from typing import Any

from timm.models import register_model
from timm.models.convnext import convnext_small, convnext_tiny
from torch import nn

from kdna_zoo.models._builder import build_kdna, count_blocks, default_cfg, make_default_cfgs
from kdna_zoo.sharing import SharingPlan, alternate_blocks_plan

_CONVNEXT = {"first_conv": "stem.0", "classifier": "head.fc", "interpolation": "bicubic"}

default_cfgs = make_default_cfgs(
    {
        "kdna_convnext_t": default_cfg(**_CONVNEXT),
        "kdna_convnext_s": default_cfg(**_CONVNEXT),
        "test_kdna_convnext": default_cfg(input_size=(3, 64, 64), pool_size=(2, 2), **_CONVNEXT),
    }
)


def _make_plan(network: nn.Module) -> SharingPlan:
    depths = count_blocks(network, "stages.2.blocks", "stages.3.blocks")
    return alternate_blocks_plan(depths, {"mlp.fc1": 4, "mlp.fc2": 24}, norm="layer")


def _build(variant: str, base: Callable[..., nn.Module], pretrained: bool, **kw: Any) -> nn.Module:
    features = {"out_indices": (0, 1, 2, 3), "flatten_sequential": True}
    return build_kdna(variant, base, _make_plan, pretrained, feature_cfg=features, **kw)


@register_model
def kdna_convnext_t(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA ConvNeXt-T, depths (3, 3, 9, 3): 21,339,592 parameters with 1,000 classes."""
    return _build("kdna_convnext_t", convnext_tiny, pretrained, **kwargs)


@register_model
def kdna_convnext_s(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KernelDNA ConvNeXt-S, depths (3, 3, 27, 3): 34,827,784 parameters with 1,000 classes."""
    return _build("kdna_convnext_s", convnext_small, pretrained, **kwargs)


@register_model
def test_kdna_convnext(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Tiny KernelDNA ConvNeXt, for tests."""
    args = {"depths": (1, 1, 3, 3), "dims": (8, 8, 12, 12), **kwargs}
    return _build("test_kdna_convnext", convnext_tiny, pretrained, **args)
