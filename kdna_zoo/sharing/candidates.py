"""Which layers of a network could share a kernel, and what an adapter costs.

Layers can share if they lie in one stage, have one role in their blocks and kernels of one shape.
The role is the layer's path inside its block: ``conv2`` of all blocks, say. Depthwise convolutions
are left out: an adapter is larger than their kernel.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from torch import nn

from kdna_zoo.layers import NormName
from kdna_zoo.sharing.fitting import Layer
from kdna_zoo.sharing.stages import Stages


def alike(
    paths: Iterable[str], layers: Mapping[str, Layer], roles: Mapping[str, str]
) -> list[list[str]]:
    """Group layers of one role and one shape, in the network's order.

    Args:
        paths: Layers of one stage.
        layers: Path -> layer.
        roles: Path -> role.
    """
    groups: dict[object, list[str]] = defaultdict(list)
    for path in paths:
        layer = layers[path]
        if not _is_depthwise(layer):
            weight = layer.weight
            key = (roles[path], weight.shape, getattr(layer, "groups", 1), weight.dtype)
            groups[key].append(path)
    return list(groups.values())


def roles_of(paths: Iterable[str], stages: Stages) -> dict[str, str]:
    """Take the numbers of blocks out of each path, and leave those that name a layer.

    ``layer3.0.conv2`` becomes ``layer3.#.conv2``. A part that is not all digits, such as ``b1``,
    ``conv1`` or ``Mixed_6b``, stands for a block if there are two layers or more below it.

    Args:
        paths: Layers of the whole network.
        stages: Its stages, which know the paths as they were before ``features_only``.
    """
    plain = {path: stages.plain(path) for path in paths}
    counts = Counter(prefix for path in plain.values() for prefix in _prefixes(path))

    def part(prefix: str) -> str:
        name = prefix.rpartition(".")[2]
        if name.isdigit() or counts[prefix] > 1:
            return re.sub(r"\d+(?:[a-z]$)?", "#", name)
        return name

    return {path: ".".join(map(part, _prefixes(name))) for path, name in plain.items()}


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _is_depthwise(layer: Layer) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups > 1 and layer.weight.shape[1] == 1


def _in_channels(layer: Layer) -> int:
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def choose_reduction(layer: Layer, reduction: int, wide_reduction: int) -> int:
    """Return the second for a layer with more inputs than outputs, else the first."""
    return wide_reduction if _in_channels(layer) > layer.weight.shape[0] else reduction


def saved_by(layer: Layer, reduction: int, norm: NormName) -> int:
    """Return the parameters that a network has fewer if a layer becomes a child.

    It is below 1 where the adapter costs as much as the kernel, or where there can be none.
    """
    channels = _in_channels(layer)
    hidden = max(channels // reduction, 1)
    if norm == "layer" and hidden == 1:  # a LayerNorm of one channel is constant
        return 0
    positions = layer.weight.shape[2:].numel()
    spatial = positions if positions > 1 else 0
    adapter = 2 * channels * hidden + channels + 2 * hidden + layer.weight.shape[0] + spatial
    return layer.weight.numel() - adapter
