"""The stage a layer belongs to.

A child may only share within its stage: kernels of one stage work at one resolution, and timm's
``features_only`` keeps or drops stages as wholes, parents and children together.

Stages are told by timm's ``feature_info``, which names the module that each stage ends with:

* where that module holds the layer, it is the stage: ``layer3`` of a ResNet, ``stages.2`` of a
  ConvNeXt; so is a sequence of blocks beside it, as ``blocks.3`` of a MobileNetV2;
* where single layers or blocks lie side by side, as in a VGG, an Inception or an Xception, a stage
  is all that comes after the end before and up to this one, and has the name of its end;
* without ``feature_info``, or outside of what it names, a stage is a top-level module.

``features_only`` writes ``features_12`` for ``features.12``, and some networks get a ``model``
around them; both are seen through.
"""

import re

from torch import nn


class Stages:
    """The stages of a network.

    Args:
        model: The network; read once, so make another one if its modules change.
    """

    def __init__(self, model: nn.Module) -> None:
        paths: dict[str, nn.Module] = dict(model.named_modules())
        named = _feature_modules(model)
        self._prefix = _wrapper(named, paths)
        flat = {end.partition(".")[0] for end in named if not self._is_there(end, paths)}
        self._plain = {path: self._unwrap(path, flat) for path in paths}
        self._modules = {self._plain[path]: module for path, module in paths.items()}
        self._paths: dict[str, str] = {plain: path for path, plain in self._plain.items()}
        self._order = {path: place for place, path in enumerate(self._modules)}
        ends = [end for end in dict.fromkeys(named) if end and end in self._modules]
        last = {end: max(map(self._order.__getitem__, self._inside(end))) for end in ends}
        self._ends: dict[str, int]  # end -> place of its last module, the first end first
        self._ends = dict(sorted(last.items(), key=lambda item: item[1]))

    def of(self, path: str) -> str:
        """Return the path of the stage that holds the layer at ``path``."""
        stage = self._find(self._plain.get(path, path))
        found: str = self._paths.get(stage, stage)
        return found

    def plain(self, path: str) -> str:
        """Return a path as it was before ``features_only``: ``features.12`` for ``features_12``."""
        return self._plain.get(path, path)

    def _find(self, path: str) -> str:
        for end in self._ends:
            if path == end or path.startswith(f"{end}."):
                return end
        top = path.partition(".")[0]
        beside = [end for end in self._ends if end.partition(".")[0] == top]
        if not beside:
            numbered = re.search(r"\d", top) and not _is_sequence(self._modules.get(top))
            is_block = numbered and path != top
            return self._next(path, list(self._ends), top) if is_block else top
        depth: int = min(end.count(".") for end in beside) + 1
        unit = ".".join(path.split(".")[:depth])
        holds_an_end = any(end.startswith(f"{unit}.") for end in beside)
        if _is_sequence(self._modules.get(unit)) and not holds_an_end:
            return unit
        return self._next(path, beside, top)

    def _next(self, path: str, ends: list[str], otherwise: str) -> str:
        """Return the first end at or after a layer, in the order of the modules."""
        place = self._order.get(path)
        after = [end for end in ends if place is not None and self._ends[end] >= place]
        return after[0] if after else otherwise

    def _is_there(self, end: str, paths: dict[str, nn.Module]) -> bool:
        return f"{self._prefix}{end}" in paths

    def _unwrap(self, path: str, flat: set[str]) -> str:
        path = path.removeprefix(self._prefix)
        top, dot, rest = path.partition(".")
        for name in flat:
            if re.fullmatch(rf"{re.escape(name)}_\w+", top):
                top = f"{name}.{top[len(name) + 1 :]}"
                break
        return f"{top}{dot}{rest}"

    def _inside(self, end: str) -> list[str]:
        return [path for path in self._modules if path == end or path.startswith(f"{end}.")]


def stage_of(model: nn.Module, path: str) -> str:
    """Return the path of the stage that holds the layer at ``path``; see above what a stage is.

    Args:
        model: The network.
        path: Module path of the layer.
    """
    return Stages(model).of(path)


def _wrapper(named: list[str], paths: dict[str, nn.Module]) -> str:
    """Return ``model.`` where all that ``feature_info`` names lies one level further down."""
    ends = [end for end in named if end]
    inside = ends and all(f"model.{end}" in paths for end in ends)
    return "model." if inside and not any(end in paths for end in ends) else ""


def _is_sequence(module: nn.Module | None) -> bool:
    """Tell whether a module is a list of blocks, and not a block or a layer."""
    return isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict) and any(
        list(block.children()) for block in module.children()
    )


def _feature_modules(model: nn.Module) -> list[str]:
    """The modules that timm's ``feature_info`` names, in order."""
    feature_info = getattr(model, "feature_info", None) or []
    infos = feature_info if isinstance(feature_info, list) else feature_info.get_dicts()
    return [info["module"] for info in infos if info.get("module")]
