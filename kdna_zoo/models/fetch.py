"""The file of weights: fetched through `huggingface_hub` and checked; each failure in one message.

timm loads what it is given. Here it is made sure beforehand that the file is there, is safetensors,
and has the sha256 that the manifest states, or that the ``config.json`` beside it states. A file is
hashed once in a process, and again if it changed.
"""

import hashlib
import json
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open

from kdna_zoo.errors import WeightsError
from kdna_zoo.models.weights import FILE, Weights, find_weights

CONFIG_KEY = "weights"  # in config.json: sha256 and size of the file beside it
CHUNK = 1 << 20  # bytes read at once


def fetch(
    repo_id: str,
    revision: str | None,
    file: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
) -> Path:
    """Return the checked file of weights of a repository on the Hub, in the Hub's cache.

    A file that is not what was published is downloaded once more; if that does not help, it is
    removed from the cache.

    Args:
        repo_id: The repository.
        revision: Branch, tag or commit; None: the main branch.
        file: Its name; None: ``model.safetensors``.
        cache_dir: The Hub's cache; None: its usual place.

    Raises:
        WeightsError: It cannot be had, or is not what was published.
    """
    file = file or FILE
    where = f"{file} of {repo_id}{f'@{revision}' if revision else ''}"
    if not file.endswith(".safetensors"):
        raise WeightsError(f"refused {where}: it may hold code. Only safetensors files are loaded")
    cache = Path(cache_dir or constants.HF_HUB_CACHE)
    path = _download(repo_id, revision, file, cache, where)
    problem = what_is_wrong(path, find_weights(repo_id, commit_of(path, file)))
    if problem and not constants.HF_HUB_OFFLINE:
        try:
            path = _download(repo_id, revision, file, cache, where, again=True)
        except WeightsError as error:
            raise WeightsError(
                f"refused {where} (cache: {cache}): {problem}. A new download failed: {error}"
            ) from error
        problem = what_is_wrong(path, find_weights(repo_id, commit_of(path, file)))
        if problem:
            _remove(path)
    if problem:
        raise WeightsError(
            f"refused {where} (cache: {cache}): {problem}. "
            + _after_refusal(path, offline=constants.HF_HUB_OFFLINE)
        )
    return path


def commit_of(path: Path, file: str) -> str:
    """Return the commit of a file in the Hub's cache, given its name in the repository."""
    return path.parents[file.count("/")].name


def check_file(path: Path, weights: Weights | None = None) -> None:
    """Check a file of weights on this machine.

    Args:
        path: The file.
        weights: What the manifest says of it; None: what the config.json beside it says.

    Raises:
        WeightsError: It is not there, or not what was published.
    """
    if not path.is_file():
        raise WeightsError(
            f"there is no {path}; a folder of weights holds {FILE}, and nothing else is loaded"
        )
    if problem := what_is_wrong(path, weights):
        raise WeightsError(
            f"refused {path}: {problem}. Get the folder again: in a checkout by"
            f" `git checkout -- {path.parent.name}`, else by `kdna-zoo publish`"
        )


def what_is_wrong(path: Path, weights: Weights | None) -> str:
    """Say what is wrong with a file of weights; empty if nothing is."""
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
        stated: Any = json.loads(path.with_name("config.json").read_text(encoding="utf-8"))
        return stated[CONFIG_KEY]["sha256"], stated[CONFIG_KEY]["size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # another program's repository


def _download(
    repo_id: str, revision: str | None, file: str, cache: Path, where: str, again: bool = False
) -> Path:
    try:
        path = hf_hub_download(
            repo_id, file, revision=revision, cache_dir=cache, force_download=again
        )
    except Exception as error:  # the client's own, OSError, and those of its HTTP library
        raise explain(error, where, cache) from error
    return Path(path)


def explain(error: Exception, where: str, cache: str | PathLike[str]) -> WeightsError:
    """Turn the many ways in which the Hub's client fails into one message.

    Args:
        error: What it raised.
        where: File, repository and revision.
        cache: The Hub's cache.
    """
    detail = gist(error)
    if isinstance(error, LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        advice = (
            "it is not in the cache, and HF_HUB_OFFLINE is set. Unset it, or load it once while"
            " online, or give a copy: pretrained_cfg_overlay=dict(file=...)"
        )
    elif isinstance(error, LocalEntryNotFoundError):
        advice = (
            f"it is not in the cache, and the Hub ({constants.ENDPOINT}) cannot be reached: check"
            f" the connection and try again ({detail})"
        )
    elif isinstance(error, RevisionNotFoundError):
        advice = "there is no such revision: it was removed, or never was; see the repository"
    elif isinstance(error, RepositoryNotFoundError):
        advice = (
            "there is no such repository, or it is private: for one of yours, `hf auth login` or"
            " HF_TOKEN"
        )
    elif isinstance(error, EntryNotFoundError):
        advice = "it holds no such file. Only safetensors are loaded, never a pickle"
    else:
        advice = f"{detail}. Try again: a download goes on where it ended"
    return WeightsError(f"cannot get {where} (cache: {cache}): {advice}")


def gist(error: Exception) -> str:
    """Return one line of what the Hub's client raised, with the Hub's own words if it said any."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    said = (getattr(error, "server_message", None) or "").splitlines()
    return f"{lines[0].rstrip('.')} ({said[0]})" if said else lines[0]


def _after_refusal(path: Path, offline: bool) -> str:
    if offline:
        return f"Remove {path.resolve()} and load it again while online (HF_HUB_OFFLINE is set)"
    return (
        "A new download was no better, and the cache keeps neither. Tell the publisher, or pin an"
        " earlier revision"
    )


def _remove(path: Path) -> None:
    """Take a file out of the Hub's cache: the link in the snapshot, and what it points to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
