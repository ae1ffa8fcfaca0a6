"""What of a recipe decides its result, apart from the network and the seed, on one level."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from kdna_zoo.data.options import GROUPS

SECTIONS = ("model", "data", "ema", "head_first", "skip_nonfinite")
TRAINER = (
    "precision",
    "max_epochs",
    "max_steps",
    "limit_train_batches",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "sync_batchnorm",
    "callbacks",
)
ELSEWHERE = (  # the network, where the data lies, and how it is loaded
    "model.arch",
    "model.arch_args",
    "model.compile",
    "data.path",
    "data.name",
    "data.revision",
    "data.cache_dir",
    "data.eval_batch_size",
    "data.num_workers",
    "data.pin_memory",
)


def settings_of(recipe: str | None) -> dict[str, Any] | None:
    """Read them from a resolved configuration.

    Args:
        recipe: The configuration as YAML; None if the run was made without the command line.

    Returns:
        Dotted path -> value, as plain JSON types, without what is not set. Options of the data are
        named without their group, as in the runs of older versions.
    """
    if recipe is None:
        return None
    config: dict[str, Any] = yaml.safe_load(recipe)
    trainer = config.get("trainer") or {}
    parts = {section: config.get(section) for section in SECTIONS}
    parts["data"] = _ungrouped(parts["data"])
    parts["trainer"] = {key: trainer.get(key) for key in TRAINER}
    return {path: value for path, value in _flat(parts, "") if value is not None}


def _ungrouped(data: Mapping[str, Any] | None) -> dict[str, Any]:
    within = [value for name, value in (data or {}).items() if name in GROUPS]
    others = {name: value for name, value in (data or {}).items() if name not in GROUPS}
    return {**others, **{name: value for group in within for name, value in group.items()}}


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if path in ELSEWHERE:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
