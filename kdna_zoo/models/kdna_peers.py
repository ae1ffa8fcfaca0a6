"""The other dynamic convolutions on timm's own networks, for comparison; see `kdna_zoo.peers`.

Which layers are dynamic follows each method's publication, and the published parameter counts:

* CondConv: the convolutions of the last three blocks (not shortcuts, not depthwise), the one after
  them, and the classifier;
* DY-Conv: every convolution but the first;
* ODConv: the same, without the 1x1 convolutions of shortcuts.

None of them exports to ONNX or TensorRT with the batch size left open: each sample has a kernel of
its own, the convolution folds the batch into its groups, and their number is a constant there. An
export for one batch size works ("One batch size" below).
"""

from functools import partial
from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.efficientnet import mobilenetv2_035, mobilenetv2_050, mobilenetv2_100
from timm.models.resnet import BasicBlock, Bottleneck, resnet18, resnet50
from torch import nn

from kdna_zoo.models._builder import build_peer, default_cfg
from kdna_zoo.models.compat import DepthwiseSeparableConv, InvertedResidual
from kdna_zoo.peers import CondConv, DYConv, ODConv, make_dynamic

BLOCKS = (BasicBlock, Bottleneck, DepthwiseSeparableConv, InvertedResidual)

_CONDCONV = {"paper_ids": "arXiv:1904.04971", "paper_name": "CondConv"}
_DYCONV = {"paper_ids": "arXiv:1912.03458", "paper_name": "Dynamic Convolution"}
_ODCONV = {"paper_name": "Omni-Dimensional Dynamic Convolution", "paper_ids": None}
_RESNET = {"first_conv": "conv1", "classifier": "fc"}
_MOBILENETV2 = {"first_conv": "conv_stem", "classifier": "classifier"}
_TINY = {"input_size": (3, 64, 64), "pool_size": (2, 2)}
_TINY_RESNET = {"layers": (1, 1, 2, 2), "stem_width": 8, "channels": (8, 8, 16, 16)}

default_cfgs = generate_default_cfgs(
    {
        "condconv_resnet18": default_cfg(**_RESNET, **_CONDCONV),
        "condconv_mobilenetv2": default_cfg(**_MOBILENETV2, **_CONDCONV),
        "condconv_mobilenetv2_050": default_cfg(**_MOBILENETV2, **_CONDCONV),
        "test_condconv_resnet": default_cfg(**_RESNET, **_CONDCONV, **_TINY),
        "dyconv_resnet18": default_cfg(**_RESNET, **_DYCONV),
        "dyconv_mobilenetv2": default_cfg(**_MOBILENETV2, **_DYCONV),
        "dyconv_mobilenetv2_050": default_cfg(**_MOBILENETV2, **_DYCONV),
        "test_dyconv_mobilenetv2": default_cfg(**_MOBILENETV2, **_DYCONV, **_TINY),
        "odconv_resnet18": default_cfg(**_RESNET, **_ODCONV),
        "odconv4x_resnet18": default_cfg(**_RESNET, **_ODCONV),
        "odconv_resnet50": default_cfg(**_RESNET, **_ODCONV),
        "odconv_mobilenetv2": default_cfg(**_MOBILENETV2, **_ODCONV),
        "odconv_mobilenetv2_050": default_cfg(**_MOBILENETV2, **_ODCONV),
        "odconv4x_mobilenetv2": default_cfg(**_MOBILENETV2, **_ODCONV),
        "odconv4x_mobilenetv2_050": default_cfg(**_MOBILENETV2, **_ODCONV),
        "test_odconv_resnet": default_cfg(**_RESNET, **_ODCONV, **_TINY),
        "test_odconv4x_resnet": default_cfg(**_RESNET, **_ODCONV, **_TINY),
    }
)


def _condconv(network: nn.Module) -> nn.Module:
    layers = dict(network.named_modules())
    blocks = [path for path, module in layers.items() if type(module) in BLOCKS]
    wanted = (*(f"{block}." for block in blocks[-3:]), "conv_head", "fc", "classifier")
    chosen = [
        path
        for path, layer in layers.items()
        if path.startswith(wanted) and ".downsample." not in path and _is_dense(layer)
    ]
    return make_dynamic(network, CondConv(), chosen)


def _is_dense(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def _dyconv(network: nn.Module) -> nn.Module:
    return make_dynamic(network, DYConv())


def _odconv(network: nn.Module, kernels: int = 1) -> nn.Module:
    chosen = [
        path
        for path, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d) and ".downsample." not in path
    ]
    return make_dynamic(network, ODConv(kernels), chosen[1:])


_odconv4x = partial(_odconv, kernels=4)


@register_model
def condconv_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CondConv ResNet-18, 8 kernels: 81,356,384 parameters with 1,000 classes. One batch size."""
    return build_peer("condconv_resnet18", resnet18, _condconv, pretrained, **kwargs)


@register_model
def condconv_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CondConv MobileNetV2, 8 kernels: 22,898,216 parameters with 1,000 classes. One batch size."""
    return build_peer("condconv_mobilenetv2", mobilenetv2_100, _condconv, pretrained, **kwargs)


@register_model
def condconv_mobilenetv2_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CondConv MobileNetV2 0.5x, 8 kernels: 14,268,904 parameters, 1,000 classes. One batch."""
    return build_peer("condconv_mobilenetv2_050", mobilenetv2_050, _condconv, pretrained, **kwargs)


@register_model
def test_condconv_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Tiny CondConv ResNet, for tests."""
    args = {**_TINY_RESNET, **kwargs}
    return build_peer("test_condconv_resnet", resnet18, _condconv, pretrained, **args)


@register_model
def dyconv_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DY-Conv ResNet-18, 4 kernels: 45,475,008 parameters with 1,000 classes. One batch size."""
    return build_peer("dyconv_resnet18", resnet18, _dyconv, pretrained, **kwargs)


@register_model
def dyconv_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DY-Conv MobileNetV2, 4 kernels: 12,416,576 parameters with 1,000 classes. One batch size."""
    return build_peer("dyconv_mobilenetv2", mobilenetv2_100, _dyconv, pretrained, **kwargs)


@register_model
def dyconv_mobilenetv2_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DY-Conv MobileNetV2 0.5x, 4 kernels: 4,573,536 parameters, 1,000 classes. One batch size."""
    return build_peer("dyconv_mobilenetv2_050", mobilenetv2_050, _dyconv, pretrained, **kwargs)


@register_model
def test_dyconv_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Tiny DY-Conv MobileNetV2, for tests."""
    args = {"depth_multiplier": 0.6, **kwargs}
    return build_peer("test_dyconv_mobilenetv2", mobilenetv2_035, _dyconv, pretrained, **args)


@register_model
def odconv_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ODConv ResNet-18, 1 kernel: 11,943,944 parameters with 1,000 classes. One batch size."""
    return build_peer("odconv_resnet18", resnet18, _odconv, pretrained, **kwargs)


@register_model
def odconv4x_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ODConv ResNet-18, 4 kernels: 44,901,640 parameters with 1,000 classes. One batch size."""
    return build_peer("odconv4x_resnet18", resnet18, _odconv4x, pretrained, **kwargs)


@register_model
def odconv_resnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ODConv ResNet-50, 1 kernel: 28,635,112 parameters with 1,000 classes. One batch size."""
    return build_peer("odconv_resnet50", resnet50, _odconv, pretrained, **kwargs)


@register_model
def odconv_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ODConv MobileNetV2, 1 kernel: 4,940,185 parameters with 1,000 classes. One batch size."""
    return build_peer("odconv_mobilenetv2", mobilenetv2_100, _odconv, pretrained, **kwargs)


@register_model
def odconv_mobilenetv2_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ODConv MobileNetV2 0.5x, 1 kernel: 2,425,537 parameters, 1,000 classes. One batch size."""
    return build_peer("odconv_mobilenetv2_050", mobilenetv2_050, _odconv, pretrained, **kwargs)


@register_model
def odconv4x_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ODConv MobileNetV2, 4 kernels: 11,512,149 parameters with 1,000 classes. One batch size."""
    return build_peer("odconv4x_mobilenetv2", mobilenetv2_100, _odconv4x, pretrained, **kwargs)


@register_model
def odconv4x_mobilenetv2_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ODConv MobileNetV2 0.5x, 4 kernels: 4,435,501 parameters, 1,000 classes. One batch size."""
    return build_peer("odconv4x_mobilenetv2_050", mobilenetv2_050, _odconv4x, pretrained, **kwargs)


@register_model
def test_odconv_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Tiny ODConv ResNet, for tests."""
    args = {**_TINY_RESNET, **kwargs}
    return build_peer("test_odconv_resnet", resnet18, _odconv, pretrained, **args)


@register_model
def test_odconv4x_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Tiny ODConv ResNet with 4 kernels, for tests."""
    args = {**_TINY_RESNET, **kwargs}
    return build_peer("test_odconv4x_resnet", resnet18, _odconv4x, pretrained, **args)
