"""What a Hub holds: repositories with their commits, branches and tags, and the users' tokens."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".ckpt")  # as in a new repo's .gitattributes
EMPTY = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}


@dataclass(frozen=True)
class User:
    """Who a token belongs to, and whether it may write."""

    name: str
    role: str = "write"
    orgs: tuple[str, ...] = ()
    org_role: str = "write"
    permissions: tuple[str, ...] = ()  # of a fine-grained token

    def may_write(self, repo: str) -> bool:
        places = (self.name, *(self.orgs if self.org_role == "write" else ()))
        token = "repo.write" in self.permissions if self.permissions else self.role == "write"
        return token and repo.partition("/")[0] in places


@dataclass
class Pull:
    """A pull request: who opened it, its title, the newest of its commits."""

    author: str
    title: str
    oid: str
    status: str = "open"


@dataclass
class Repo:
    """Commits by their id (path -> content), and where each branch, tag and pull request is."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, Pull] = field(default_factory=dict)

    def add(self, files: Mapping[str, bytes]) -> str:
        """Adds a commit that no branch points to yet."""
        text = repr((len(self.commits), sorted(files.items())))
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid] = dict(files)
        return oid

    def find(self, revision: str) -> str | None:
        pulls = {ref: pull.oid for ref, pull in self.pulls.items()}
        refs = {**self.branches, **self.tags, **pulls}
        oid = refs.get(revision, revision)
        return oid if oid in self.commits else None

    @property
    def head(self) -> dict[str, bytes]:
        """The files of the main branch."""
        return self.commits[self.branches["main"]]


def is_lfs(path: str) -> bool:
    return path.endswith(LFS_SUFFIXES)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def oid_of(path: str, content: bytes) -> str:
    """What the Hub compares a file by."""
    return sha256(content) if is_lfs(path) else git_oid(content)


def describe(path: str, content: bytes) -> dict[str, Any]:
    """A file as the Hub lists it in a tree."""
    row = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
    if is_lfs(path):
        row["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
    return row


def read_folder(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
