"""What went wrong with the Hub, in one message: its answer, what that means, and what to do.

The Hub's client hides an answer behind errors of its own: behind a file that is "not found" may be
an error 500, and behind a failed upload a missing right. The answer is looked for in the causes.
"""

import errno
from collections.abc import Iterator
from http import HTTPStatus
from os import PathLike
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from kdna_zoo.errors import WeightsError

NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
FULL = (errno.ENOSPC, errno.EDQUOT)
STATUS_PAGE = "https://status.huggingface.co"


def explain(
    error: BaseException, where: str, cache: str | PathLike[str], repo_id: str | None = None
) -> WeightsError:
    """Turn the many ways in which the Hub's client fails into one message.

    Args:
        error: What it raised.
        where: File, repository and revision.
        cache: The Hub's cache.
        repo_id: The repository, to name the revisions of it that the cache holds.
    """
    advice = _advice(error, Path(cache), repo_id)
    return WeightsError(f"cannot get {where} (cache: {cache}): {advice}")


def summary_line(error: BaseException) -> str:
    """Return one line of what the Hub's client raised, with the Hub's own answer if it gave one."""
    said = answer(error)
    if isinstance(error, HfHubHTTPError) and said:
        return said
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:3]).rstrip(".") or type(error).__name__
    return f"{text}: {said}" if said else text


def answer(error: BaseException) -> str:
    """Return the Hub's answer: status, its meaning and its own words; empty if it gave none."""
    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code
            said = (cause.server_message or "").strip().splitlines()
            return f"{status} {_phrase(status)}{f' ({said[0]})' if said else ''}"
    return ""


def status_of(error: BaseException) -> int | None:
    """Return the status of the Hub's answer; None if it gave none."""
    found = (c.response.status_code for c in _causes(error) if isinstance(c, HfHubHTTPError))
    return next(found, None)


def is_offline(error: BaseException) -> bool:
    """Whether nothing was asked, since HF_HUB_OFFLINE is set."""
    return constants.HF_HUB_OFFLINE and any(
        isinstance(cause, OfflineModeIsEnabled | LocalEntryNotFoundError)
        for cause in _causes(error)
    )


def _advice(error: BaseException, cache: Path, repo_id: str | None) -> str:
    if is_offline(error):
        return (
            "it is not in the cache, and HF_HUB_OFFLINE is set. Unset it, or load it once while"
            " online, or give a copy: pretrained_cfg_overlay=dict(file=...)"
        )
    if isinstance(error, RevisionNotFoundError):
        return "there is no such revision: it was removed, or never was; see the repository"
    if isinstance(error, GatedRepoError):
        return (
            f"its owner lets in only whom they allow ({answer(error)}): ask for access on the"
            " repository's page, then `hf auth login` or HF_TOKEN"
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            "there is no such repository, or it is private: for one of yours, `hf auth login` or"
            " HF_TOKEN"
        )
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return "it holds no such file. Only safetensors are loaded, never a pickle"
    if status := status_of(error):
        return f"the Hub ({constants.ENDPOINT}) {meaning(status, answer(error))}"
    number = error.errno if isinstance(error, OSError) else None
    if number in NOT_WRITABLE:
        return f"the cache cannot be written ({_where(error)}). {_without_writing(cache, repo_id)}"
    if number in FULL:
        return (
            f"the disk of the cache is full ({_where(error)}). Make room there, or set HF_HOME to"
            " a folder elsewhere"
        )
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"it is not in the cache, and the Hub ({constants.ENDPOINT}) cannot be reached: check"
            f" the connection and try again ({summary_line(error.__cause__ or error)})"
        )
    return f"{summary_line(error)}. Try again: a download goes on where it ended"


def meaning(status: int, said: str) -> str:
    """Say what an answer of the Hub means, and what to do.

    Args:
        status: Its status.
        said: All of it, as `answer` gives it.
    """
    if status == HTTPStatus.UNAUTHORIZED:
        return (
            f"refuses the token: {said}. `hf auth login` with another, or unset HF_TOKEN: what is"
            " public needs none"
        )
    if status == HTTPStatus.FORBIDDEN:
        return (
            f"forbids it: {said}. Take a token that may (`hf auth login` or HF_TOKEN); a proxy or"
            " firewall between may forbid it too"
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return (
            f"has had too many requests from here: {said}. Wait some minutes; with a token"
            " (`hf auth login` or HF_TOKEN) it allows more"
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return (
            f"is there and fails, also when asked again: {said}. The trouble is on its side: try"
            f" again later, {STATUS_PAGE} says when"
        )
    return f"answers {said}. If HF_ENDPOINT is set, check that a Hub is there"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, the nearest first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "of no known kind"


def _where(error: BaseException) -> str:
    strerror, filename = getattr(error, "strerror", None), getattr(error, "filename", None)
    return f"{strerror or error}{f': {filename}' if filename else ''}"


def _without_writing(cache: Path, repo_id: str | None) -> str:
    """Say how to do with what a cache holds that cannot be written."""
    otherwise = "give one that can be (HF_HOME, or cache_dir=...)"
    snapshots = cache / f"models--{(repo_id or '').replace('/', '--')}" / "snapshots"
    try:
        held = sorted(folder.name for folder in snapshots.iterdir()) if repo_id else []
    except OSError:
        held = []
    if not held:
        return f"{otherwise[0].upper()}{otherwise[1:]}"
    return (
        f"It holds {', '.join(held)}, and what was asked for is not that: the branch or tag has"
        f" moved, or it is another. Take what is there, hf-hub:{repo_id}@{held[-1]} or"
        f" HF_HUB_OFFLINE=1, or {otherwise}"
    )
