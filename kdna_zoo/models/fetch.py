"""The files of published weights: fetched through `huggingface_hub` and checked, else one message.

timm loads what it is given. Here it is made sure beforehand that the file is there, is safetensors,
and has the sha256 that the manifest states, or that the ``config.json`` beside it states. A file is
hashed once in a process, and again if it changed. Nothing is ever removed here: a file in the Hub's
cache that is not what was published is fetched again by the Hub's client, which replaces only what
it wrote itself.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download
from safetensors import SafetensorError, safe_open

from kdna_zoo.errors import WeightsError
from kdna_zoo.hub_errors import explain
from kdna_zoo.models.published import CONFIG, CONFIG_KEY
from kdna_zoo.models.weights import FILE, PublishedWeights, find_version, find_weights
from kdna_zoo.paths import checkout

CHUNK = 1 << 20  # bytes read at once


def fetch(
    repo_id: str,
    revision: str | None,
    file: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
) -> Path:
    """Return the checked file of weights of a repository on the Hub, in the Hub's cache.

    A file that is not what was published is downloaded once more.

    Args:
        repo_id: The repository.
        revision: Branch, tag or commit; None: the main branch.
        file: Its name; None: ``model.safetensors``.
        cache_dir: The Hub's cache; None: its usual place.

    Raises:
        WeightsError: It cannot be had, or is not what was published.
    """
    file = file or FILE
    if not file.endswith(".safetensors"):
        where = _where(repo_id, revision, file)
        raise WeightsError(f"refused {where}: it may hold code. Only safetensors files are loaded")
    return _fetch(repo_id, revision, file, cache_dir, what_is_wrong)[0]


def fetch_config(
    repo_id: str, revision: str | None, cache_dir: str | PathLike[str] | None = None
) -> tuple[Path, bool]:
    """Return the ``config.json`` of a repository on the Hub, in the Hub's cache.

    Args:
        repo_id: The repository.
        revision: Branch, tag or commit; None: the main branch.
        cache_dir: The Hub's cache; None: its usual place.

    Returns:
        The file, and whether it had to be fetched again, since the manifest pins another.

    Raises:
        WeightsError: It cannot be had, or is not what the manifest pins.
    """
    return _fetch(repo_id, revision, CONFIG, cache_dir, what_is_wrong_with_config)


def commit_of(path: Path, file: str) -> str:
    """Return the commit of a file in the Hub's cache, given its name in the repository."""
    return path.parents[file.count("/")].name


def check_file(path: Path, weights: PublishedWeights | None = None) -> None:
    """Check a file of weights on this machine.

    Args:
        path: The file.
        weights: What the manifest says of it; None: what the config.json beside it says.

    Raises:
        WeightsError: It is not there, or not what was published.
    """
    if not path.is_file():
        raise WeightsError(
            f"there is no {path}; a folder of weights holds {FILE}, and nothing else is loaded."
            f" {_get_again(path.parent)}"
        )
    if problem := what_is_wrong(path, weights):
        raise WeightsError(f"refused {path}: {problem}. {_get_again(path.parent)}")


def what_is_wrong(path: Path, weights: PublishedWeights | None) -> str:
    """Say what is wrong with a file of weights; empty if nothing is.

    Args:
        path: The file.
        weights: What the manifest says of it; None: what the config.json beside it says.
    """
    if not path.is_file():
        return "it is not there"
    wanted = (weights.sha256, weights.size) if weights else _stated_beside(path)
    size = path.stat().st_size
    if wanted and size != wanted[1]:
        return f"it has {size:,} bytes, and {wanted[1]:,} were published"
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        return f"it is cut off or no safetensors file ({error})"
    if wanted and (found := file_sha256(path)) != wanted[0]:
        return f"it was altered or swapped: its sha256 is {found}, published was {wanted[0]}"
    return ""


def what_is_wrong_with_config(path: Path, weights: PublishedWeights | None) -> str:
    """Say whether a ``config.json`` is another than the manifest pins; empty if not."""
    if not path.is_file():
        return "it is not there"
    if weights and (found := file_sha256(path)) != weights.config_sha256:
        return f"it was altered: its sha256 is {found}, published was {weights.config_sha256}"
    return ""


def file_sha256(path: Path) -> str:
    """Return a file's sha256; computed once, as long as the file stays the same."""
    found = path.resolve()
    return _hash(found, found.stat().st_mtime_ns, found.stat().st_size)


@lru_cache(maxsize=256)
def _hash(path: Path, changed: int, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _stated_beside(path: Path) -> tuple[str, int] | None:
    try:
        stated: Any = json.loads(path.with_name(CONFIG).read_text(encoding="utf-8"))
        return stated[CONFIG_KEY]["sha256"], stated[CONFIG_KEY]["size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # another program's repository


def _fetch(
    repo_id: str,
    revision: str | None,
    file: str,
    cache_dir: str | PathLike[str] | None,
    problem_of: Callable[[Path, PublishedWeights | None], str],
) -> tuple[Path, bool]:
    """Download a file if it is not in the cache, and once more if it is not what was published."""
    where = _where(repo_id, revision, file)
    cache = Path(cache_dir or constants.HF_HUB_CACHE)
    path = _download(repo_id, revision, file, cache)
    commit = commit_of(path, file)
    _check_reference(repo_id, revision, commit)
    weights = find_weights(repo_id, commit)
    problem = problem_of(path, weights)
    if not problem:
        return path, False
    refused = f"refused {where} (cache: {cache}): {problem}"
    if not _is_of_the_client(path, file):
        raise WeightsError(f"{refused}. {_somebody_elses(path)}")
    if constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"{refused}. To have it fetched again, load it again while online (HF_HUB_OFFLINE is"
            " set)"
        )
    try:
        path = _download(repo_id, commit, file, cache, again=True)
    except WeightsError as error:
        raise WeightsError(f"{refused}. A new download failed: {error}") from error
    if problem_of(path, weights):
        raise WeightsError(
            f"{refused}. A new download was no better: tell the publisher, or pin an earlier"
            " revision. The next load tries again"
        )
    return path, True


def _check_reference(repo_id: str, revision: str | None, commit: str) -> None:
    """Check that a branch or tag names a commit, and a tag that the manifest knows the same one."""
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise WeightsError(
            f"refused {repo_id}@{revision or 'main'}: the Hub's cache has {commit!r} for it, which"
            " is no commit. Name the commit, or load it with another cache (HF_HOME)"
        )
    known = find_version(repo_id, revision) if revision else None
    if known and known.revision != commit:
        raise WeightsError(
            f"refused {repo_id}@{revision}: it is at {commit}, and was published at"
            f" {known.revision}: the tag was moved, on the Hub or in its cache. Load"
            f" {repo_id}@{known.revision} for what was published, or {repo_id}@{commit} for this"
        )


def _download(
    repo_id: str, revision: str | None, file: str, cache: Path, again: bool = False
) -> Path:
    try:
        path = hf_hub_download(
            repo_id, file, revision=revision, cache_dir=cache, force_download=again
        )
    except Exception as error:  # the client's own, OSError, and those of its HTTP library
        raise explain(error, _where(repo_id, revision, file), cache, repo_id) from error
    return Path(path)


def _where(repo_id: str, revision: str | None, file: str) -> str:
    return f"{file} of {repo_id}{f'@{revision}' if revision else ''}"


def _is_of_the_client(path: Path, file: str) -> bool:
    """Whether a file in the cache is a link of the Hub's client to what it downloaded."""
    if not path.is_symlink():
        return False
    repository = path.parents[file.count("/") + 2].resolve()
    target = Path(os.path.normpath(path.parent.resolve() / os.readlink(path)))
    return target.parent == repository / "blobs"


def _somebody_elses(path: Path) -> str:
    points = f"points to {os.readlink(path)}" if path.is_symlink() else "is a file of its own"
    return (
        f"{path} {points}, so it is none that the Hub's client downloaded, and stays as it is."
        " Load it with another cache (HF_HOME, or cache_dir=...), or weights of your own by"
        " pretrained_cfg_overlay=dict(file=...)"
    )


def _get_again(folder: Path) -> str:
    top = checkout()
    if top and folder.resolve().parent == (top / "hub").resolve():
        name = folder.resolve().name
        return f"Get the folder again: `git -C {top} checkout -- hub/{name}`"
    return "Get the folder again, or make it by `kdna-zoo publish`"
