"""What a repository on the Hub holds at a revision, and how a release differs from it.

Files are compared by the identifiers that the Hub lists: a large file's sha256, git's of another.
Nothing is downloaded but a card that differs, to see whether a person edited it.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, get_token, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from kdna_zoo.errors import KdnaZooError, RunError, UserError, WeightsError
from kdna_zoo.hub_errors import STATUS_PAGE, is_offline, status_of, summary_line
from kdna_zoo.models.fetch import file_sha256
from kdna_zoo.release.folder import FILES
from kdna_zoo.release.signature import addressed, is_generated

HOW_TO_LOG_IN = (
    "Make a token with write access at https://huggingface.co/settings/tokens, then `hf auth login`"
    " or set HF_TOKEN"
)


def check_access(repo_id: str, pull_request: bool = False) -> None:
    """Check that the Hub's token may write to a repository.

    The token comes from the client's own places, and is neither shown nor kept.

    Args:
        repo_id: The repository, there or not.
        pull_request: Whether it is only to be proposed to, which anybody may.

    Raises:
        UserError: It may not: no token, one for reading only, or another's repository.
        RunError: The Hub does not answer.
    """
    _check_name(repo_id)
    if constants.HF_HUB_OFFLINE:
        raise UserError("publishing needs the Hub, and HF_HUB_OFFLINE is set: unset it")
    if get_token() is None:
        raise UserError(f"publishing needs a token of the Hub, and there is none. {HOW_TO_LOG_IN}")
    with hub_trouble("asking who the token belongs to"):
        try:
            user = HfApi().whoami()
        except HfHubHTTPError as error:
            if error.response.status_code != 401:
                raise
            raise UserError(f"the Hub does not know this token. {HOW_TO_LOG_IN}") from error
    if _only_reads(user.get("auth", {}).get("accessToken", {})):
        raise UserError(f"the token of {user['name']} may only read. {HOW_TO_LOG_IN}")
    orgs = [org["name"] for org in user.get("orgs", []) if org.get("roleInOrg") != "read"]
    places = [user["name"], *orgs]
    if not pull_request and repo_id.partition("/")[0] not in places:
        raise UserError(
            f"{user['name']} cannot write to {repo_id}: give a repository of"
            f" {' or '.join(places)}, or propose the files with --pr"
        )


def _what_to_do(error: Exception) -> str:
    again = "the same command again does what is missing"
    status = status_of(error) or 0
    if is_offline(error):
        return f"unset HF_HUB_OFFLINE, and {again}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{again}, with a token that may write there. {HOW_TO_LOG_IN}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"wait some minutes, and {again}"
    if status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.INSUFFICIENT_STORAGE):
        return f"make room there or publish elsewhere, and {again}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"the trouble is on its side: later ({STATUS_PAGE}) {again}"
    return again


@contextmanager
def hub_trouble(doing: str, left: str = "Nothing was uploaded") -> Iterator[None]:
    """Say in one message what failed on the Hub's side, what is left, and what to do.

    Args:
        doing: What was being done.
        left: What is left on the Hub if it fails.
    """
    try:
        yield
    except Exception as error:  # the client's own, OSError, and those of its HTTP library
        if isinstance(error, KdnaZooError) and not isinstance(error, WeightsError):
            raise
        raise RunError(
            f"the Hub ({constants.ENDPOINT}) failed while {doing}: {summary_line(error)}. {left};"
            f" {_what_to_do(error)}"
        ) from error


def _only_reads(token: dict[str, Any]) -> bool:
    """Whether a token may write nowhere; where a fine-grained one may is for the Hub to judge."""
    scopes = token.get("fineGrained")
    if not scopes:
        return bool(token.get("role") == "read")
    allowed = [*scopes.get("global", [])]
    for scope in scopes.get("scoped", []):
        allowed += scope.get("permissions", [])
    return not {"repo.write", "discussion.write"} & set(allowed)


def _check_name(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
        if repo_id.count("/") != 1:
            raise HFValidationError("it should be ORGANISATION/NAME")
    except HFValidationError as error:
        raise UserError(f"{repo_id!r} cannot be a repository on the Hub: {error}") from error


CARD = "README.md"
SHA256_DIGITS = 64
Files = dict[str, bytes | Path]


@dataclass(frozen=True)
class Remote:
    """A repository at a revision.

    Attributes:
        repo_id: The repository.
        revision: The branch, the pull request's reference, or the commit; None: the main branch.
        head: Its commit.
        private: Whether only its owners see it.
        files: The files' identifiers, by name.
        tags: The commits of the repository's tags.
    """

    repo_id: str
    revision: str | None
    head: str
    private: bool
    files: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True)
class Changes:
    """What makes a revision the release.

    Attributes:
        files: The files to upload, by name.
        stale: The files to remove.
        card_kept: Whether its card was edited by a person and stays.
    """

    files: Files
    stale: frozenset[str]
    card_kept: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The files that change; empty if the revision is the release already."""
        return tuple(sorted(self.stale.union(self.files)))


def read_remote(repo_id: str, revision: str | None = None) -> Remote:
    """Ask the Hub what a repository holds at a revision; None: the main branch."""
    api = HfApi()
    info = api.model_info(repo_id, revision=revision, files_metadata=True)
    files = {
        file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id)
        for file in info.siblings or []
    }
    tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id).tags}
    return Remote(repo_id, revision, str(info.sha), bool(info.private), files, tags)


def find_changes(folder: Path, remote: Remote, overwrite_card: bool = False) -> Changes:
    """Say how a folder of a release differs from a revision.

    Args:
        folder: The folder; its card is taken as it is once it names the repository.
        remote: The revision.
        overwrite_card: Whether a card that a person edited there is to be replaced.
    """
    files: Files = {name: folder / name for name in FILES if (folder / name).is_file()}
    stale = frozenset(name for name in FILES if name in remote.files and name not in files)
    card = (folder / CARD).read_text(encoding="utf-8")
    files[CARD] = addressed(card, remote.repo_id).encode()
    changed = {
        name: content
        for name, content in files.items()
        if _identifier(content, remote.files.get(name, "")) != remote.files.get(name)
    }
    kept = CARD in changed and CARD in remote.files and not overwrite_card and _is_edited(remote)
    if kept:
        del changed[CARD]
    return Changes(changed, stale, kept)


def _is_edited(remote: Remote) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        card = hf_hub_download(remote.repo_id, CARD, revision=remote.head, cache_dir=scratch)
        return not is_generated(Path(card).read_text(encoding="utf-8"))


def _identifier(content: bytes | Path, there: str) -> str:
    """Return the identifier of a content, of the kind that the Hub has for what is there."""
    if len(there) == SHA256_DIGITS and isinstance(content, Path):
        return file_sha256(content)
    data = content.read_bytes() if isinstance(content, Path) else content
    if len(there) == SHA256_DIGITS:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
