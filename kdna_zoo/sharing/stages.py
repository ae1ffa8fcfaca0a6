"""The stage a layer belongs to.

A child may only share within its stage: kernels of one stage work at one resolution, and timm's
``features_only`` keeps or drops stages as wholes, parents and children together.
"""

from torch import nn


def stage_of(model: nn.Module, path: str) -> str:
    """Return the path of the stage that holds the layer at ``path``.

    Stages are what timm's ``feature_info`` names: ``layer3`` of a ResNet, ``blocks.2`` of a
    MobileNetV2, ``stages.2`` of a ConvNeXt. In a network without it, or outside of what it names,
    a stage is a top-level module.
    """
    parts = path.split(".")
    depth = _stage_depths(model).get(parts[0], 1)
    return ".".join(parts[:depth])


def _stage_depths(model: nn.Module) -> dict[str, int]:
    """How many parts of a path name its stage, for each top-level module."""
    feature_info = getattr(model, "feature_info", None) or []
    infos = feature_info if isinstance(feature_info, list) else feature_info.get_dicts()
    modules = [info["module"] for info in infos if info.get("module")]
    return {module.split(".")[0]: len(module.split(".")) for module in modules}
