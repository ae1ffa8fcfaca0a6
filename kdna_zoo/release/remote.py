"""What a repository on the Hub holds at a revision, and how a release differs from it.

Files are compared by the identifiers that the Hub lists: a large file's sha256, git's of another.
Nothing is downloaded but a card that differs, to see whether a person edited it.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download

from kdna_zoo.models.fetch import file_sha256
from kdna_zoo.release.folder import FILES
from kdna_zoo.release.signature import addressed, is_generated

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
