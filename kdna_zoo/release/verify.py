"""Compares what a folder, the cache and the Hub hold with what the weights manifest states."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import timm
from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import RevisionNotFoundError
from safetensors import SafetensorError

from kdna_zoo.errors import KdnaZooError, UserError, WeightsError, did_you_mean
from kdna_zoo.hub_errors import explain
from kdna_zoo.models.fetch import what_is_wrong, what_is_wrong_with_config
from kdna_zoo.models.published import CONFIG, read_config, what_differs
from kdna_zoo.models.weights import FILE, PublishedWeights, known_weights
from kdna_zoo.paths import checkout, published_folder
from kdna_zoo.release.folder import FILES, OPTIONAL
from kdna_zoo.release.timm_format import check_finite


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


def _folder(name: str, weights: PublishedWeights) -> Finding:
    folder, top = published_folder(name), checkout()
    if folder is None:
        lost = _lost(top / "hub" / name, weights) if top else None
        note = "sha256" if lost else "no such folder in this installation"
        return Finding(name, f"hub/{name}", lost, note)
    missing = ", ".join(f for f in FILES if f not in OPTIONAL and not (folder / f).is_file())
    problem = (
        (f"it lacks {missing}. {_get_again(name)}" if missing else "")
        or what_is_wrong(folder / FILE, weights)
        or _config_problem(folder / CONFIG, name, weights)
    )
    return Finding(name, str(folder), problem or _not_loadable(folder), "sha256, config, loaded")


def _lost(folder: Path, weights: PublishedWeights) -> str | None:
    """Say what a checkout lacks that should hold these weights; None if it need not."""
    if folder.is_dir():
        return f"it lacks {FILE}. {_get_again(folder.name)}"
    if weights.revision is None:
        return "there is no such folder, and the weights are not on the Hub either"
    return None


def _get_again(name: str) -> str:
    return f"Get it again: `git checkout -- hub/{name}`"


def _cache(name: str, weights: PublishedWeights) -> Finding:
    place = f"cache of {weights.repo_id}"
    if weights.revision is None:
        return Finding(name, place, None, "not on the Hub yet")
    found = try_to_load_from_cache(weights.repo_id, FILE, revision=weights.revision)
    if not isinstance(found, str):
        return Finding(name, place, None, "not in the cache")
    config = Path(found).with_name(CONFIG)  # a network that is loaded by its name needs none
    problem = what_is_wrong(Path(found), weights) or (
        _config_problem(config, name, weights) if config.is_file() else ""
    )
    advice = f"{problem}. To have it fetched again, load {name} while online" if problem else ""
    return Finding(name, found, advice, "sha256")


def _hub(name: str, weights: PublishedWeights) -> Finding:
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
        problem = str(explain(error, place, constants.HF_HUB_CACHE, weights.repo_id))
    return Finding(name, place, problem, "sha256, config, tag")


def _compare_with_hub(name: str, weights: PublishedWeights, api: HfApi) -> str:
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
    with tempfile.TemporaryDirectory() as scratch:  # what the Hub has, whatever is in the cache
        config = hf_hub_download(
            weights.repo_id, CONFIG, revision=weights.revision, cache_dir=scratch
        )
        return _config_problem(Path(config), name, weights)


def _config_problem(config: Path, name: str, weights: PublishedWeights) -> str:
    """Say how a config.json is not the one that the manifest pins; empty if it is."""
    try:
        found = what_differs(read_config(config), name, weights)
    except WeightsError as error:
        return str(error)
    return found or what_is_wrong_with_config(config, weights)


def _not_loadable(folder: Path) -> str:
    try:
        check_finite(timm.create_model(f"local-dir:{folder}", pretrained=True), folder.name)
    except (KdnaZooError, RuntimeError, TypeError, ValueError, OSError, SafetensorError) as error:
        return str(error)
    return ""
