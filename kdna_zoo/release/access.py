"""Whether one may publish to a repository, asked before anything is made or uploaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from kdna_zoo.errors import KdnaZooError, RunError, UserError, WeightsError
from kdna_zoo.hub_errors import STATUS_PAGE, gist, is_offline, status_of

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
            f"the Hub ({constants.ENDPOINT}) failed while {doing}: {gist(error)}. {left};"
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
