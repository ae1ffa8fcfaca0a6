"""A folder of a release goes to the Hub: one commit, a tag, and a look at what comes back.

Nothing is ever half published: large files are uploaded first and belong to no revision until the
one commit that holds everything. What fails in between leaves the old revision, or the new one
without its tag; the same call again does what is missing, and makes no second commit.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    hf_hub_download,
)
from huggingface_hub.errors import RepositoryNotFoundError
from torch import Tensor

from kdna_zoo.errors import RunError, UserError
from kdna_zoo.models.fetch import file_sha256
from kdna_zoo.release.access import check_access, hub_trouble
from kdna_zoo.release.examples import logits_by_name
from kdna_zoo.release.folder import FILES
from kdna_zoo.release.signature import addressed, is_generated

CARD = "README.md"
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


@dataclass(frozen=True)
class Outcome:
    """What is on the Hub now.

    Attributes:
        revision: The commit.
        url: Where to see it.
        changed: The files that this commit changed; empty if all were there already.
        card_kept: Whether the card on the Hub stays as a person edited it.
    """

    revision: str
    url: str
    changed: tuple[str, ...]
    card_kept: bool


@dataclass(frozen=True)
class Remote:
    """A repository as it is: its newest commit, the files' identifiers, and the tags' commits."""

    head: str
    private: bool
    files: dict[str, str]
    tags: dict[str, str]


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
    expected = logits_by_name(f"local-dir:{folder}")  # refused if its files contradict each other
    with tempfile.TemporaryDirectory() as scratch:
        remote = _find_or_create(target)
        files = _contents(folder, target.repo_id)
        kept = not target.overwrite_card and _edited_card(target, remote, files, Path(scratch))
        if kept:
            del files[CARD]
        changed = {
            name for name in files if _oid(files[name], remote, name) != remote.files.get(name)
        }
        stale = {name for name in FILES if name in remote.files and not (folder / name).exists()}
        _check_tag(target, remote, changed | stale)
        commit = _commit(target, remote, {name: files[name] for name in changed}, stale)
        revision = commit.oid if commit else remote.head
        if target.tag and target.tag not in remote.tags:
            with hub_trouble(f"tagging {target.tag}", f"All files are in {target.repo_id}"):
                HfApi().create_tag(target.repo_id, tag=target.tag, revision=revision)
        with hub_trouble("reading the weights back", f"All files are in {target.repo_id}"):
            _compare(expected, f"hf-hub:{target.repo_id}@{revision}", Path(scratch))
    url = (commit.pr_url or commit.commit_url) if commit else _url(target.repo_id, revision)
    return Outcome(revision, str(url), tuple(sorted(changed | stale)), kept)


def _find_or_create(target: Target) -> Remote:
    api = HfApi()
    with hub_trouble(f"looking for {target.repo_id}"):
        try:
            remote = _remote(api, target.repo_id)
            _check_private(target, remote)
            return remote
        except RepositoryNotFoundError as error:
            if target.pull_request:
                raise UserError(
                    f"there is no repository {target.repo_id} to propose to with --pr"
                ) from error
    with hub_trouble(f"creating {target.repo_id}"):
        api.create_repo(target.repo_id, private=target.private, exist_ok=True)
        return _remote(api, target.repo_id)


def _check_private(target: Target, remote: Remote) -> None:
    if target.private and not remote.private:
        raise UserError(
            f"{target.repo_id} is there already, and it is public: --private is for a new one. Make"
            " it private on its settings page, or take another name"
        )


def _remote(api: HfApi, repo_id: str) -> Remote:
    info = api.model_info(repo_id, files_metadata=True)
    files = {
        file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id)
        for file in info.siblings or []
    }
    tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id).tags}
    return Remote(str(info.sha), bool(info.private), files, tags)


def _contents(folder: Path, repo_id: str) -> dict[str, bytes | Path]:
    """Return what to upload: the folder's files, with a card that names the repository."""
    files: dict[str, bytes | Path] = {
        name: folder / name for name in FILES if (folder / name).is_file()
    }
    card = (folder / CARD).read_text(encoding="utf-8")
    return {**files, CARD: addressed(card, repo_id).encode()}


def _edited_card(
    target: Target, remote: Remote, files: dict[str, bytes | Path], scratch: Path
) -> bool:
    """Whether the card on the Hub is another than ours, and by a person's hand."""
    if CARD not in remote.files or _oid(files[CARD], remote, CARD) == remote.files[CARD]:
        return False
    with hub_trouble("reading the card"):
        card = hf_hub_download(target.repo_id, CARD, revision=remote.head, cache_dir=scratch)
    return not is_generated(Path(card).read_text(encoding="utf-8"))


def _check_tag(target: Target, remote: Remote, changed: set[str]) -> None:
    tagged = remote.tags.get(target.tag or "")
    if tagged and (changed or tagged != remote.head):
        raise UserError(
            f"{target.repo_id} has a tag {target.tag} already, at {tagged}, and a tag stays where"
            f" it is: people rely on it. Take another name; there are {', '.join(remote.tags)}"
        )


def _commit(
    target: Target, remote: Remote, changed: dict[str, bytes | Path], stale: set[str]
) -> CommitInfo | None:
    """Make the one commit, on top of what was looked at; None if there is nothing to change."""
    if not changed and not stale:
        return None
    with hub_trouble(f"uploading to {target.repo_id}", EITHER):
        return HfApi().create_commit(
            target.repo_id,
            [
                *(CommitOperationAdd(name, content) for name, content in sorted(changed.items())),
                *(CommitOperationDelete(name) for name in sorted(stale)),
            ],
            commit_message=f"Publish {target.tag or 'weights'} with kdna-zoo",
            parent_commit=remote.head,
            create_pr=target.pull_request,
        )


def _compare(expected: Tensor, name: str, scratch: Path) -> None:
    """Load what is on the Hub now as anybody does, into an empty cache."""
    if not torch.equal(expected, logits_by_name(name, scratch)):
        raise RunError(f"{name} gives other logits than what was uploaded: do not use it")


def _oid(content: bytes | Path, remote: Remote, name: str) -> str:
    """Return the identifier that the Hub has for this content, as a large file or as git does."""
    if len(remote.files.get(name, "")) == 64:
        return file_sha256(content) if isinstance(content, Path) else _hex(hashlib.sha256(content))
    data = content.read_bytes() if isinstance(content, Path) else content
    return _hex(hashlib.sha1(b"blob %d\0" % len(data) + data))


def _hex(digest: "hashlib._Hash") -> str:
    return digest.hexdigest()


def _url(repo_id: str, revision: str) -> str:
    return f"{HfApi().endpoint}/{repo_id}/tree/{revision}"
