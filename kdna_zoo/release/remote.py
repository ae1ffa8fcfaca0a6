"""A release and a repository on the Hub: who may write there, what differs, and what failed.

Nothing is downloaded but a card that differs, to see whether a person edited it.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from huggingface_hub import Discussion, HfApi, constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from kdna_zoo.errors import KdnaZooError, RunError, UserError, WeightsError
from kdna_zoo.hub_errors import STATUS_PAGE, is_offline, status_of, summary_line
from kdna_zoo.release.folder import FILES
from kdna_zoo.release.signature import addressed, is_generated

CARD = "README.md"
HOW_TO_LOG_IN = (
    "Make a token with write access at https://huggingface.co/settings/tokens, then `hf auth login`"
    " or set HF_TOKEN"
)


def check_access(repo_id: str, pull_request: bool = False) -> None:
    """Check that the Hub's token may write to a repository.

    The token comes from the client's own places, and is neither shown nor kept. The client's
    `auth_check` knows only repositories that are there, and a release may make its own.

    Args:
        repo_id: The repository, there or not.
        pull_request: Whether it is only to be proposed to, which anybody may.

    Raises:
        UserError: It may not: no token, one for reading only, or another's repository.
        RunError: The Hub does not answer.
    """
    try:
        validate_repo_id(repo_id)
        if repo_id.count("/") != 1:
            raise HFValidationError("it should be ORGANISATION/NAME")
    except HFValidationError as error:
        raise UserError(f"{repo_id!r} cannot be a repository on the Hub: {error}") from error
    if constants.HF_HUB_OFFLINE:
        raise UserError("publishing needs the Hub, and HF_HUB_OFFLINE is set: unset it")
    with hub_trouble("asking who the token belongs to"):
        try:
            user = HfApi().whoami()
        except LocalTokenNotFoundError as error:
            raise UserError(
                f"publishing needs a token of the Hub, and there is none. {HOW_TO_LOG_IN}"
            ) from error
        except HfHubHTTPError as error:
            if error.response.status_code != HTTPStatus.UNAUTHORIZED:
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


@dataclass(frozen=True)
class Revision:
    """A revision of a repository, and what makes it the release.

    Attributes:
        head: Its commit.
        upload: The files to upload.
        remove: The files to remove.
        card_kept: Whether its card was edited by a person and stays.
        pull: The pull request that it is of; None: of the main branch or a tag.
    """

    head: str
    upload: frozenset[str]
    remove: frozenset[str]
    card_kept: bool
    pull: Discussion | None

    @property
    def changes(self) -> tuple[str, ...]:
        """The files that change; empty if the revision is the release already."""
        return tuple(sorted(self.upload | self.remove))


@contextmanager
def staged(folder: Path, repo_id: str) -> Iterator[Path]:
    """Yield a release's files as they will lie in a repository, which its card names there."""
    with tempfile.TemporaryDirectory() as scratch:
        release = Path(scratch)
        for name in FILES:
            if name != CARD and (folder / name).is_file():
                (release / name).symlink_to((folder / name).resolve())
        card = (folder / CARD).read_text(encoding="utf-8")
        (release / CARD).write_bytes(addressed(card, repo_id).encode())
        yield release


def compare(
    release: Path, repo_id: str, head: str, overwrite_card: bool, pull: Discussion | None = None
) -> Revision:
    """Say how a release differs from a revision, by the checksums that the Hub lists.

    Args:
        release: Its files, staged for the repository.
        repo_id: The repository.
        head: The revision's commit.
        overwrite_card: Whether a card that a person edited there is to be replaced.
        pull: The pull request that the commit is of.
    """
    found = HfApi().verify_repo_checksums(repo_id, revision=head, local_dir=release)
    differing = {file["path"] for file in found.mismatches}
    kept = {CARD} & differing if not overwrite_card else set()
    if kept:
        with tempfile.TemporaryDirectory() as scratch:
            card = hf_hub_download(repo_id, CARD, revision=head, cache_dir=scratch)
            kept = set() if is_generated(Path(card).read_text(encoding="utf-8")) else kept
    upload = differing.union(found.extra_paths) - kept
    remove = set(FILES).intersection(found.missing_paths)
    return Revision(head, frozenset(upload), frozenset(remove), bool(kept), pull)
