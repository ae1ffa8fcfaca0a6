"""A folder of a release goes to the Hub: one commit, a look at what comes back, and a tag.

Nothing is ever half published: large files are uploaded first and belong to no revision until the
one commit that holds everything, and a tag names only what came back as it was sent. What fails in
between leaves the old revision, or the new one without its tag; the same call again does what is
missing, and makes no second commit.

The client's `upload_folder` would find by itself what differs, but may split it into several
commits; `create_commit` makes one.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    Discussion,
    HfApi,
)
from huggingface_hub.errors import RepositoryNotFoundError
from torch import Tensor

from kdna_zoo.errors import KdnaZooError, RunError, UserError
from kdna_zoo.models.published import CONFIG, read_config
from kdna_zoo.release.examples import logits_by_name
from kdna_zoo.release.front_matter import check_card
from kdna_zoo.release.remote import CARD, Revision, check_access, compare, hub_trouble, staged

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
    head, tags = _find_or_create(target)
    with staged(folder, target.repo_id) as release:
        with hub_trouble(f"comparing with {target.repo_id}"):
            base = _find_base(release, target, head, tags)
        commit = _commit(release, target, base) if base.changes else None
    revision = commit.oid if commit else base.head
    left = f"All files are in {target.repo_id}"
    with hub_trouble("reading the weights back", left), tempfile.TemporaryDirectory() as empty:
        name = f"hf-hub:{target.repo_id}@{revision}"  # as anybody loads it, into an empty cache
        if not torch.equal(expected, logits_by_name(name, Path(empty))):
            raise RunError(f"{name} gives other logits than what was uploaded: do not use it")
    if target.tag and target.tag not in tags:
        with hub_trouble(f"tagging {target.tag}", left):
            HfApi().create_tag(target.repo_id, tag=target.tag, revision=revision)
    url, proposal = _page(target, base, commit)
    return Outcome(revision, url, base.changes, base.card_kept, proposal)


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


def _find_or_create(target: Target) -> tuple[str, dict[str, str]]:
    """Return the commit of the repository's main branch, and those of its tags."""
    with hub_trouble(f"looking for {target.repo_id}"):
        try:
            return _read(target)
        except RepositoryNotFoundError as error:
            if target.pull_request:
                raise UserError(
                    f"there is no repository {target.repo_id} to propose to with --pr"
                ) from error
    with hub_trouble(f"creating {target.repo_id}"):
        HfApi().create_repo(target.repo_id, private=target.private, exist_ok=True)
        return _read(target)


def _read(target: Target) -> tuple[str, dict[str, str]]:
    info = HfApi().model_info(target.repo_id)
    if target.private and not info.private:
        raise UserError(
            f"{target.repo_id} is there already, and it is public: --private is for a new one. Make"
            " it private on its settings page, or take another name"
        )
    tags = HfApi().list_repo_refs(target.repo_id).tags
    return str(info.sha), {tag.name: tag.target_commit for tag in tags}


def _find_base(release: Path, target: Target, head: str, tags: dict[str, str]) -> Revision:
    """Find the revision that is this release already, or else the one to commit on top of.

    That is the main branch, or the tag if it is there: it may not move. A proposal goes on in an
    open pull request of the same user: one that holds these files, or the newest of ours.
    """
    base = compare(release, target.repo_id, head, target.overwrite_card)
    tagged = tags.get(target.tag or "")
    if tagged and (base.changes or tagged != head):
        there = compare(release, target.repo_id, tagged, target.overwrite_card)
        if there.changes:
            raise UserError(
                f"{target.repo_id} has a tag {target.tag} already, at {tagged}, and a tag stays"
                " where it is: people rely on it. Take another name; there are"
                f" {', '.join(tags)}"
            )
        return replace(there, card_kept=base.card_kept)
    if target.pull_request and base.changes:
        for pull, oid in _proposals(target):
            found = compare(release, target.repo_id, oid, target.overwrite_card, pull)
            if not found.changes:
                return found
            if pull.title == target.message and base.pull is None:
                base = found
    return base


def _proposals(target: Target) -> Iterator[tuple[Discussion, str]]:
    """Yield this user's open pull requests and their commits, the newest first."""
    api = HfApi()
    user = api.whoami()["name"]
    found = api.get_repo_discussions(target.repo_id, author=user, discussion_type="pull_request")
    for pull in sorted(found, key=lambda pull: pull.num, reverse=True):
        if pull.status in ("open", "draft"):
            yield pull, str(api.model_info(target.repo_id, revision=pull.git_reference).sha)


def _commit(release: Path, target: Target, base: Revision) -> CommitInfo:
    """Make the one commit, on top of what was looked at."""
    with hub_trouble(f"uploading to {target.repo_id}", EITHER):
        return HfApi().create_commit(
            target.repo_id,
            [
                *(CommitOperationAdd(name, release / name) for name in sorted(base.upload)),
                *(CommitOperationDelete(name) for name in sorted(base.remove)),
            ],
            commit_message=target.message,
            revision=base.pull.git_reference if base.pull else None,
            parent_commit=base.head,
            create_pr=target.pull_request and base.pull is None,
        )


def _page(target: Target, base: Revision, commit: CommitInfo | None) -> tuple[str, str]:
    """Return where to see what is there now, and what became of the pull request."""
    if base.pull:
        same = "open already, with the same files"
        return base.pull.url, "brought up to date" if commit else same
    if commit is None:
        return f"{HfApi().endpoint}/{target.repo_id}/tree/{base.head}", ""
    if commit.pr_url:
        return commit.pr_url, "opened"
    return str(commit.commit_url), ""
