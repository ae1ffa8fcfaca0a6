"""Compares what a folder, the cache and the Hub hold with what the weights manifest states."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import RevisionNotFoundError
from safetensors import SafetensorError

from kdna_zoo.errors import KdnaZooError, UserError, did_you_mean
from kdna_zoo.models.fetch import explain, what_is_wrong
from kdna_zoo.models.weights import FILE, Weights, known_weights
from kdna_zoo.paths import published_folder

CONFIG = "config.json"


@dataclass(frozen=True)
class Finding:
    """What one place holds of one tag's weights.

    Attributes:
        name: ``network.tag``.
        place: The folder, the cached file, or the repository and revision.
        problem: What is wrong there; empty if nothing is, None if there was nothing to look at.
        note: What was looked at, or why not.
    """

    name: str
    place: str
    problem: str | None
    note: str


def verify(names: list[str]) -> list[Finding]:
    """Check the weights of some tags, everywhere they lie.

    Args:
        names: ``network.tag``; empty: all in the manifest.

    Raises:
        UserError: One of them is not in the manifest.
    """
    known = known_weights()
    for name in names:
        if name not in known:
            listed = f"the manifest has {', '.join(known) or 'no weights yet'}"
            raise UserError(f"the manifest has no {name!r}; " + did_you_mean(name, known, listed))
    places = (_folder, _cache, _hub)
    return [place(name, known[name]) for name in names or known for place in places]


def _folder(name: str, weights: Weights) -> Finding:
    folder = published_folder(name)
    if folder is None:
        return Finding(name, f"hub/{name}", None, "no such folder in this installation")
    problem = what_is_wrong(folder / FILE, weights) or _contradiction(
        folder / CONFIG, name, weights
    )
    return Finding(name, str(folder), problem or _not_loadable(folder), "sha256, config, loaded")


def _cache(name: str, weights: Weights) -> Finding:
    place = f"cache of {weights.repo_id}"
    if weights.revision is None:
        return Finding(name, place, None, "not on the Hub yet")
    found = try_to_load_from_cache(weights.repo_id, FILE, revision=weights.revision)
    if not isinstance(found, str):
        return Finding(name, place, None, "not in the cache")
    problem = what_is_wrong(Path(found), weights)
    advice = f"{problem}. Remove {Path(found).resolve()}" if problem else ""
    return Finding(name, found, advice, "sha256")


def _hub(name: str, weights: Weights) -> Finding:
    place = f"{weights.repo_id}@{weights.revision or weights.version}"
    if weights.revision is None:
        return Finding(name, weights.repo_id, None, "not on the Hub yet")
    if constants.HF_HUB_OFFLINE:
        return Finding(name, place, None, "not asked: HF_HUB_OFFLINE is set")
    try:
        problem = _compare_with_hub(name, weights, HfApi())
    except RevisionNotFoundError:
        problem = "the pinned revision is gone: its history was rewritten"
    except KdnaZooError:
        raise
    except Exception as error:  # the client's own, OSError, and those of its HTTP library
        problem = str(explain(error, place, constants.HF_HUB_CACHE))
    return Finding(name, place, problem, "sha256, config, tag")


def _compare_with_hub(name: str, weights: Weights, api: HfApi) -> str:
    """Ask the Hub for what it holds at the pinned revision; the weights are not downloaded."""
    info = api.model_info(weights.repo_id, revision=weights.revision, files_metadata=True)
    file = next((file for file in info.siblings or [] if file.rfilename == FILE), None)
    if file is None:
        return f"there is no {FILE} at this revision"
    sha256 = file.lfs.sha256 if file.lfs else "not a large file"
    if sha256 != weights.sha256:
        return f"the weights were swapped: their sha256 is {sha256}, published was {weights.sha256}"
    if weights.version:
        tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(weights.repo_id).tags}
        if tags.get(weights.version) != weights.revision:
            return f"tag {weights.version} moved: it is at {tags.get(weights.version, 'nothing')}"
    config = hf_hub_download(weights.repo_id, CONFIG, revision=weights.revision)
    return _contradiction(Path(config), name, weights)


def _contradiction(config: Path, name: str, weights: Weights) -> str:
    """Say where a config.json contradicts the manifest; empty if nowhere."""
    try:
        stated: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{config.name} cannot be read ({error})"
    wanted: dict[str, Any] = {
        "architecture": name.partition(".")[0],
        "num_classes": weights.num_classes,
        "label_names": weights.label_names,
        "model_args": weights.arch_args,
        **weights.data_config,
    }
    arguments = {k: v for k, v in stated.get("model_args", {}).items() if k != "num_classes"}
    found = {**stated.get("pretrained_cfg", {}), **stated, "model_args": arguments}
    for key, value in wanted.items():
        if found.get(key) != value:
            return f"{config.name} states {key} {found.get(key)}, and the manifest {value}"
    return ""


def _not_loadable(folder: Path) -> str:
    try:
        timm.create_model(f"local-dir:{folder}", pretrained=True)
    except (KdnaZooError, RuntimeError, TypeError, ValueError, OSError, SafetensorError) as error:
        return str(error)
    return ""
