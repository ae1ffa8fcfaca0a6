"""``config.json`` of a published network: read, consistent in itself, and as the manifest has it.

It says what the weights mean: which class an output is, how an image is prepared. Where the weights
manifest knows the weights, by their repository and commit or by their sha256, it has to agree. What
the manifest does not know can only be looked at: labels and classes, mean and channels.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kdna_zoo.errors import WeightsError
from kdna_zoo.models.weights import PublishedWeights, find_by_content

CONFIG = "config.json"
CONFIG_KEY = "weights"  # in config.json: sha256 and size of the file beside it
OF_A_RELEASE = {"arch", "metrics", "precision", "run", "weights"}  # in metrics.json beside it
# What timm would do with the weights or the images and no release of ours states.
NEVER_STATED = (
    *("label_descriptions", "label_offset", "custom_load", "test_input_size", "test_crop_pct"),
)


def read_config(path: Path) -> dict[str, Any]:
    """Read a ``config.json``.

    Raises:
        WeightsError: It is not there, or no JSON, or contradicts itself; the message names it.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{path} cannot be read: {reason}") from error
    if problem := what_is_inconsistent(config):
        raise WeightsError(f"refused {path}: {problem}")
    return dict(config)


def check_config(path: Path, sha256: str) -> None:
    """Check the ``config.json`` that lies beside a file of weights.

    Args:
        path: The ``config.json``.
        sha256: Of the weights.

    Raises:
        WeightsError: It contradicts itself, or the manifest knows these weights otherwise, or the
            entry was taken out of it that a release states its weights by.
    """
    config = read_config(path)
    if not isinstance(config.get(CONFIG_KEY), dict) and _is_release(path.parent):
        raise WeightsError(
            f"refused {path}: it lacks {CONFIG_KEY!r}, where a release states what its weights are."
            " Get the folder again, or publish it again from its checkpoint"
        )
    name, weights = find_by_content(sha256) or ("", None)
    if weights and (problem := what_differs(config, name, weights)):
        raise WeightsError(
            f"refused {path}: {problem}, and the weights beside it are those of {name}. Get it"
            f" again; to have it otherwise, load {name} with pretrained_cfg_overlay=dict(...)"
        )


def what_is_inconsistent(config: Any) -> str:
    """Say where a ``config.json`` contradicts itself, or is none; empty if nowhere."""
    if not isinstance(config, dict):
        return f"it holds a {type(config).__name__}, and should hold an object"
    source = config.get("pretrained_cfg", config)  # older ones have all in one
    arguments = config.get("model_args") or {}
    for key, value in (("pretrained_cfg", source), ("model_args", arguments)):
        if not isinstance(value, dict):
            return f"{key} is {value!r}, and should be an object"
    if not isinstance(config.get("architecture"), str):
        return f"architecture is {config.get('architecture')!r}, and should name the network"
    found = {**source, **config}
    for key, (is_right, wanted) in KINDS.items():
        value = found.get(key)
        if value is not None and not is_right(value):
            return f"{key} is {_short(value)}, and should be {wanted}"
    return _contradiction(found, source, arguments)


def what_differs(config: Mapping[str, Any], name: str, weights: PublishedWeights) -> str:
    """Say where a ``config.json`` contradicts the manifest; empty if nowhere.

    Args:
        config: What it holds.
        name: ``network.tag``.
        weights: What the manifest says.
    """
    wanted: dict[str, Any] = {
        "architecture": name.partition(".")[0],
        "num_classes": weights.num_classes,
        "label_names": weights.label_names,
        "model_args": weights.arch_args,
        **weights.data_config,
    }
    found = {**config.get("pretrained_cfg", {}), **config, "model_args": own_arguments(config)}
    for key, value in wanted.items():
        if found.get(key) != value:
            return f"{CONFIG} states {key} {found.get(key)}, and the manifest {value}"
    for key in NEVER_STATED:
        if found.get(key):
            return f"{CONFIG} states {key} {_short(found[key])}, and the manifest none"
    return ""


def own_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the architecture's arguments beside the number of classes, which is stated above."""
    return {k: v for k, v in (config.get("model_args") or {}).items() if k != "num_classes"}


def _contradiction(
    found: Mapping[str, Any], source: Mapping[str, Any], arguments: Mapping[str, Any]
) -> str:
    classes, names = found.get("num_classes"), found.get("label_names")
    for where, other in (("pretrained_cfg", source), ("model_args", arguments)):
        if None not in (classes, other.get("num_classes")) and other["num_classes"] != classes:
            return f"num_classes is {classes}, and {other['num_classes']} in {where}"
    if names is not None and classes and len(names) != classes:
        return f"it has {classes} classes and {len(names)} label_names"
    size, channels = found.get("input_size"), arguments.get("in_chans")
    channels = channels or (size[0] if size else None)
    for key in ("mean", "std"):
        values = found.get(key)
        if values is not None and channels and len(values) not in (1, channels):
            return f"{key} has {len(values)} numbers, and the input {channels} channels"
    return ""


def _is_release(folder: Path) -> bool:
    """Whether a folder was published by kdna-zoo, by the figures that it holds."""
    try:
        figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(figures, dict) and set(figures) >= OF_A_RELEASE


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_count(n) and n for n in value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list | dict) and all(isinstance(name, str) for name in value)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _are_positive(value: Any) -> bool:
    return _are_numbers(value) and all(number > 0 for number in value)


def _is_stated(value: Any) -> bool:
    return not isinstance(value, dict) or (  # other programs may mean something else
        bool(re.fullmatch(r"[0-9a-f]{64}", str(value.get("sha256"))))
        and _is_count(value.get("size"))
    )


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_classes": (_is_count, "a whole number"),
    "label_names": (_are_names, "a list of names"),
    "label_descriptions": (lambda v: isinstance(v, dict), "an object"),
    "input_size": (_is_size, "channels, height and width"),
    "mean": (_are_numbers, "numbers, one for each channel"),
    "std": (_are_positive, "numbers above 0, one for each channel"),
    "crop_pct": (lambda v: _is_number(v) and v > 0, "a number above 0"),
    "interpolation": (lambda v: isinstance(v, str), "a name"),
    "crop_mode": (lambda v: isinstance(v, str), "a name"),
    CONFIG_KEY: (_is_stated, "the sha256 and size of the weights"),
}


def _short(value: Any, characters: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= characters else f"{text[:characters]}..."
