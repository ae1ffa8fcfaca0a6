"""The stage a layer belongs to.

A child may only share within its stage: kernels of one stage work at one resolution, and timm's
``features_only`` keeps or drops stages as wholes, parents and children together.
"""

from torch import nn


def stage_of(model: nn.Module, path: str) -> str:
    """Return the path of the stage that holds the layer at ``path``.

    Stages are what timm's ``feature_info`` names: ``layer3`` of a ResNet, ``blocks.2`` of a
    MobileNetV2, ``stages.2`` of a ConvNeXt. Where the layers lie side by side, as in a VGG, a stage
    is all that comes up to and with the layer that ``feature_info`` names. In a network without
    it, or outside of what it names, a stage is a top-level module.
    """
    parts = path.split(".")
    ends = [module for module in _feature_modules(model) if module.split(".")[0] == parts[0]]
    depth = len(ends[0].split(".")) if ends else 1
    if len(parts) > depth or not parts[-1].isdigit():
        return ".".join(parts[:depth])
    after = [end for end in ends if int(end.rpartition(".")[2]) >= int(parts[-1])]
    return after[0] if after else parts[0]


def _feature_modules(model: nn.Module) -> list[str]:
    """The modules that timm's ``feature_info`` names, in order."""
    feature_info = getattr(model, "feature_info", None) or []
    infos = feature_info if isinstance(feature_info, list) else feature_info.get_dicts()
    return [info["module"] for info in infos if info.get("module")]
