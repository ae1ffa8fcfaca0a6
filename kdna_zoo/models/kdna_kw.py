"""KernelWarehouse on timm's own networks, for comparison; see `kdna_zoo.peers`.

Which layers draw on which warehouse follows the publication and its parameter counts. What changes
the size of the map draws on the warehouse of the stage before.

* ResNets: every convolution but the first, and but 1x1 ones that keep the map's size at the
  entrance of the first stage. One warehouse a stage.
* MobileNetV2: every convolution. Pointwise and depthwise ones have warehouses of their own, and
  with 4 times the cells expansions and projections too.
* MobileNetV2 with half the cells: every depthwise convolution, in the last stage the pointwise ones
  too, the stem and the classifier. The last three have half the cells, the others all.

None of them exports to ONNX or TensorRT with the batch size left open: each sample has a kernel of
its own, the convolution folds the batch into its groups, and their number is a constant there. An
export for one batch size works ("One batch size" below).
"""

from functools import partial
from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.efficientnet import mobilenetv2_050, mobilenetv2_100
from timm.models.resnet import resnet18, resnet50
from torch import nn

from kdna_zoo.models._builder import build_peer, default_cfg
from kdna_zoo.peers import KernelWarehouse, WarehouseConfig, make_dynamic

_KW = {"paper_ids": "arXiv:2406.07879", "paper_name": "KernelWarehouse"}
_RESNET = {"first_conv": "conv1", "classifier": "fc", **_KW}
_MOBILENETV2 = {"first_conv": "conv_stem", "classifier": "classifier", **_KW}
_TINY = {"input_size": (3, 64, 64), "pool_size": (2, 2)}
_TINY_RESNET = {"layers": (1, 1, 2, 2), "stem_width": 8, "channels": (8, 8, 16, 16)}

default_cfgs = generate_default_cfgs(
    {
        "kw_resnet18": default_cfg(**_RESNET),
        "kwhalf_resnet18": default_cfg(**_RESNET),
        "kw4x_resnet18": default_cfg(**_RESNET),
        "kw_resnet50": default_cfg(**_RESNET),
        "kw_mobilenetv2": default_cfg(**_MOBILENETV2),
        "kw_mobilenetv2_050": default_cfg(**_MOBILENETV2),
        "kwhalf_mobilenetv2": default_cfg(**_MOBILENETV2),
        "kwhalf_mobilenetv2_050": default_cfg(**_MOBILENETV2),
        "kw4x_mobilenetv2": default_cfg(**_MOBILENETV2),
        "kw4x_mobilenetv2_050": default_cfg(**_MOBILENETV2),
        "test_kw_resnet": default_cfg(**_RESNET, **_TINY),
        "test_kwhalf_resnet": default_cfg(**_RESNET, **_TINY),
    }
)


def _resnet(network: nn.Module, budget: float = 1) -> nn.Module:
    def store(path: str) -> WarehouseConfig:
        stage, block, name = path.split(".")[:3]
        before = block == "0" and name in ("conv1", "downsample")
        ratio = min(budget, 1)
        return WarehouseConfig(f"layer{max(int(stage[-1]) - before, 1)}", budget, ratio, ratio)

    def is_dynamic(path: str, layer: nn.Module) -> bool:
        if not isinstance(layer, nn.Conv2d) or path == "conv1":
            return False
        entrance = path.startswith(("layer1.0.conv1", "layer1.0.downsample"))
        return not (entrance and layer.kernel_size == (1, 1))

    chosen = [path for path, layer in network.named_modules() if is_dynamic(path, layer)]
    return make_dynamic(network, KernelWarehouse(store), chosen)


def _mobilenetv2_stage(path: str) -> int:
    """The warehouses are numbered 0 (stem) to 6 (the last two stages and the head)."""
    if "." not in path:
        return 0 if path == "conv_stem" else 6
    stage, block = map(int, path.split(".")[1:3])
    before = block == 0 and 0 < stage < 6
    return min(stage + 1, 6) - before


def _mobilenetv2(network: nn.Module, budget: float = 1) -> nn.Module:
    def store(path: str) -> WarehouseConfig:
        name = "conv_pwl" if path == "conv_head" else path.split(".")[-1]
        if budget <= 1 and name in ("conv_pw", "conv_pwl"):
            name = "pointwise"
        return WarehouseConfig(f"{name} {_mobilenetv2_stage(path)}", budget)

    chosen = [path for path, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    return make_dynamic(network, KernelWarehouse(store), chosen)


def _mobilenetv2_half(network: nn.Module) -> nn.Module:
    def store(path: str) -> WarehouseConfig:
        if path == "classifier":
            return WarehouseConfig(path, 0.5, cell_in=0.025)
        name = "conv_pwl" if path == "conv_head" else path.split(".")[-1]
        store = WarehouseConfig(f"{name} {_mobilenetv2_stage(path)}")
        return store._replace(budget=0.5, cell_out=0.5, cell_in=0.5) if "pw" in name else store

    def is_dynamic(path: str, layer: nn.Module) -> bool:
        if isinstance(layer, nn.Conv2d):
            return layer.groups > 1 or _mobilenetv2_stage(path) in (0, 6)
        return isinstance(layer, nn.Linear)

    chosen = [path for path, layer in network.named_modules() if is_dynamic(path, layer)]
    return make_dynamic(network, KernelWarehouse(store, reduction=32), chosen)


_resnet_half, _resnet_4x = (partial(_resnet, budget=budget) for budget in (0.5, 4))
_mobilenetv2_4x = partial(_mobilenetv2, budget=4)


@register_model
def kw_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW ResNet-18, 1x: 11,932,148 parameters with 1,000 classes. One batch size."""
    return build_peer("kw_resnet18", resnet18, _resnet, pretrained, **kwargs)


@register_model
def kwhalf_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW ResNet-18, 1/2x: 7,431,044 parameters with 1,000 classes. One batch size."""
    return build_peer("kwhalf_resnet18", resnet18, _resnet_half, pretrained, **kwargs)


@register_model
def kw4x_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW ResNet-18, 4x: 45,862,085 parameters with 1,000 classes. One batch size."""
    return build_peer("kw4x_resnet18", resnet18, _resnet_4x, pretrained, **kwargs)


@register_model
def kw_resnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW ResNet-50, 1x: 28,052,310 parameters with 1,000 classes. One batch size."""
    return build_peer("kw_resnet50", resnet50, _resnet, pretrained, **kwargs)


@register_model
def kw_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW MobileNetV2, 1x: 5,168,146 parameters with 1,000 classes. One batch size."""
    return build_peer("kw_mobilenetv2", mobilenetv2_100, _mobilenetv2, pretrained, **kwargs)


@register_model
def kw_mobilenetv2_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW MobileNetV2 0.5x, 1x: 2,854,522 parameters with 1,000 classes. One batch size."""
    return build_peer("kw_mobilenetv2_050", mobilenetv2_050, _mobilenetv2, pretrained, **kwargs)


@register_model
def kwhalf_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW MobileNetV2, 1/2x: 2,654,396 parameters with 1,000 classes. One batch size."""
    return build_peer(
        "kwhalf_mobilenetv2", mobilenetv2_100, _mobilenetv2_half, pretrained, **kwargs
    )


@register_model
def kwhalf_mobilenetv2_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW MobileNetV2 0.5x, 1/2x: 1,466,888 parameters with 1,000 classes. One batch size."""
    return build_peer(
        "kwhalf_mobilenetv2_050", mobilenetv2_050, _mobilenetv2_half, pretrained, **kwargs
    )


@register_model
def kw4x_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW MobileNetV2, 4x: 11,375,455 parameters with 1,000 classes. One batch size."""
    return build_peer("kw4x_mobilenetv2", mobilenetv2_100, _mobilenetv2_4x, pretrained, **kwargs)


@register_model
def kw4x_mobilenetv2_050(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """KW MobileNetV2 0.5x, 4x: 4,649,624 parameters with 1,000 classes. One batch size."""
    return build_peer(
        "kw4x_mobilenetv2_050", mobilenetv2_050, _mobilenetv2_4x, pretrained, **kwargs
    )


@register_model
def test_kw_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Tiny KernelWarehouse ResNet, for tests."""
    args = {**_TINY_RESNET, **kwargs}
    return build_peer("test_kw_resnet", resnet18, _resnet, pretrained, **args)


@register_model
def test_kwhalf_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Tiny KernelWarehouse ResNet with half the cells, for tests."""
    args = {**_TINY_RESNET, **kwargs}
    return build_peer("test_kwhalf_resnet", resnet18, _resnet_half, pretrained, **args)
