"""A folder of a release goes to the Hub: one commit, a look at what comes back, and a tag.

Nothing is ever half published: large files are uploaded first and belong to no revision until the
one commit that holds everything, and a tag names only what came back as it was sent. What fails in
between leaves the old revision, or the new one without its tag; the same call again does what is
missing, and makes no second commit.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from torch import Tensor

from kdna_zoo.errors import KdnaZooError, RunError, UserError
from kdna_zoo.models.published import CONFIG, read_config
from kdna_zoo.release.examples import logits_by_name
from kdna_zoo.release.front_matter import check_card
from kdna_zoo.release.remote import (
    CARD,
    Changes,
    Remote,
    check_access,
    find_changes,
    hub_trouble,
    read_remote,
)

EITHER = "The repository has its old revision or the whole new one"


@dataclass(frozen=True)
class Target:
    """Where to publish, and how.

    Attributes:
        repo_id: ``ORGANISATION/NAME``.
        private: Whether a new repository is one that only its owners see.
        pull_request: Whether to propose the commit rather than to make it.
        tag: Name of the new revision, such as ``v1``; None: no tag.
        overwrite_card: Whether a card may be replaced that a person edited on the Hub.
    """

    repo_id: str
    private: bool = False
    pull_request: bool = False
    tag: str | None = None
    overwrite_card: bool = False

    @property
    def message(self) -> str:
        """The commit's message, and a pull request's title."""
        return f"Publish {self.tag or 'weights'} with kdna-zoo"


@dataclass(frozen=True)
class Outcome:
    """What is on the Hub now.

    Attributes:
        revision: The commit.
        url: Where to see it.
        changed: The files that this commit changed; empty if all were there already.
        card_kept: Whether the card on the Hub stays as a person edited it.
        proposal: What became of the pull request; empty if there is none.
    """

    revision: str
    url: str
    changed: tuple[str, ...]
    card_kept: bool
    proposal: str = ""


def push(folder: Path, target: Target) -> Outcome:
    """Publish a folder to the Hub, and check what timm loads from there.

    Args:
        folder: A folder of a release.
        target: Where to, and how.

    Raises:
        UserError: It may not be published there; nothing was uploaded.
        RunError: The Hub failed, or gives back something else; the message says what is left.
    """
    check_access(target.repo_id, target.pull_request)
    expected = _expected(folder)
    check_card(folder / CARD, target.repo_id)
    main = _find_or_create(target)
    with hub_trouble(f"comparing with {target.repo_id}"):
        base, changes = _find_base(folder, target, main)
    commit = _commit(target, base, changes) if changes.names else None
    revision = commit.oid if commit else base.head
    with (
        hub_trouble("reading the weights back", f"All files are in {target.repo_id}"),
        tempfile.TemporaryDirectory() as empty,
    ):
        _compare(expected, f"hf-hub:{target.repo_id}@{revision}", Path(empty))
    if target.tag and target.tag not in main.tags:
        with hub_trouble(f"tagging {target.tag}", f"All files are in {target.repo_id}"):
            HfApi().create_tag(target.repo_id, tag=target.tag, revision=revision)
    return Outcome(
        revision, _url(base, commit), changes.names, changes.card_kept, _proposal(base, commit)
    )


def _expected(folder: Path) -> Tensor:
    """Return the folder's logits, or refuse it if its files contradict each other."""
    read_config(folder / CONFIG)
    try:
        expected = logits_by_name(f"local-dir:{folder}")
    except KdnaZooError:
        raise
    except (RuntimeError, TypeError, ValueError, KeyError, OSError) as error:
        raise UserError(f"timm does not load {folder}, so nobody could: {error}") from error
    if not expected.isfinite().all():
        raise UserError(f"{folder} gives NaN or infinity on ordinary images: nobody could use it")
    return expected


def _find_or_create(target: Target) -> Remote:
    with hub_trouble(f"looking for {target.repo_id}"):
        try:
            remote = read_remote(target.repo_id)
            _check_private(target, remote)
            return remote
        except RepositoryNotFoundError as error:
            if target.pull_request:
                raise UserError(
                    f"there is no repository {target.repo_id} to propose to with --pr"
                ) from error
    with hub_trouble(f"creating {target.repo_id}"):
        HfApi().create_repo(target.repo_id, private=target.private, exist_ok=True)
        return read_remote(target.repo_id)


def _check_private(target: Target, remote: Remote) -> None:
    if target.private and not remote.private:
        raise UserError(
            f"{target.repo_id} is there already, and it is public: --private is for a new one. Make"
            " it private on its settings page, or take another name"
        )


def _find_base(folder: Path, target: Target, main: Remote) -> tuple[Remote, Changes]:
    """Find the revision that is this release already, or else the one to commit on top of.

    That is the main branch, or the tag if it is there: it may not move. A proposal goes on in an
    open pull request of the same user: one that holds these files, or the newest of ours.
    """
    overwrite = target.overwrite_card
    changes = find_changes(folder, main, overwrite)
    tagged = main.tags.get(target.tag or "")
    if tagged and (changes.names or tagged != main.head):
        there = read_remote(target.repo_id, tagged)
        if find_changes(folder, there, overwrite).names:
            raise UserError(
                f"{target.repo_id} has a tag {target.tag} already, at {tagged}, and a tag stays"
                " where it is: people rely on it. Take another name; there are"
                f" {', '.join(main.tags)}"
            )
        return there, Changes({}, frozenset(), changes.card_kept)
    base = main, changes
    if target.pull_request and changes.names:
        for ours, remote in _proposals(target):
            differing = find_changes(folder, remote, overwrite)
            if not differing.names:
                return remote, differing
            if ours and base[0] is main:
                base = remote, differing
    return base


def _proposals(target: Target) -> Iterator[tuple[bool, Remote]]:
    """Yield this user's open pull requests, the newest first, and whether it looks like ours."""
    api = HfApi()
    user = api.whoami()["name"]
    found = api.get_repo_discussions(target.repo_id, author=user, discussion_type="pull_request")
    for pull in sorted(found, key=lambda pull: pull.num, reverse=True):
        if pull.status in ("open", "draft"):
            remote = read_remote(target.repo_id, pull.git_reference)
            yield pull.title == target.message, remote


def _commit(target: Target, base: Remote, changes: Changes) -> CommitInfo:
    """Make the one commit, on top of what was looked at."""
    with hub_trouble(f"uploading to {target.repo_id}", EITHER):
        return HfApi().create_commit(
            target.repo_id,
            [
                *(CommitOperationAdd(name, content) for name, content in changes.files.items()),
                *(CommitOperationDelete(name) for name in sorted(changes.stale)),
            ],
            commit_message=target.message,
            revision=base.revision,
            parent_commit=base.head,
            create_pr=target.pull_request and base.revision is None,
        )


def _compare(expected: Tensor, name: str, scratch: Path) -> None:
    """Load what is on the Hub now as anybody does, into an empty cache."""
    if not torch.equal(expected, logits_by_name(name, scratch)):
        raise RunError(f"{name} gives other logits than what was uploaded: do not use it")


def _pull_number(base: Remote) -> str:
    return (base.revision or "").partition("refs/pr/")[2]


def _url(base: Remote, commit: CommitInfo | None) -> str:
    repository = f"{HfApi().endpoint}/{base.repo_id}"
    if number := _pull_number(base):
        return f"{repository}/discussions/{number}"
    return str(commit.pr_url or commit.commit_url) if commit else f"{repository}/tree/{base.head}"


def _proposal(base: Remote, commit: CommitInfo | None) -> str:
    if _pull_number(base):
        return "brought up to date" if commit else "open already, with the same files"
    return "opened" if commit and commit.pr_url else ""
