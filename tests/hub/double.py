"""A Hub of one's own on localhost: what `huggingface_hub` and `datasets` ask of the real one."""

from collections.abc import Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from tests.hub.answers import Handler
from tests.hub.faults import Fault, Faults, Kind
from tests.hub.store import EMPTY, Repo, User, read_folder

WRITE, READ = "hf_write", "hf_read"


class HubDouble:
    """Serves repositories from memory; use it as a context manager.

    Attributes:
        url: For HF_ENDPOINT.
        cdn_url: Where large files come from, another host as with the real Hub.
        repos: By kind and id: ``models/org/name``, ``datasets/org/name``.
        users: By their token.
        objects: Contents of large files that were uploaded, by sha256.
        requests: Method and path of each request so far.
        down: Whether it answers everything with 503.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.users = {
            WRITE: User("someone", orgs=("kdna-zoo",)),
            READ: User("reader", role="read", orgs=("kdna-zoo",)),
        }
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.down = False
        self.faults = Faults()
        self.lock = Lock()
        handler = type("Handler", (Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.cdn_url = f"http://localhost:{self._server.server_port}"  # clients stop at other hosts

    def __enter__(self) -> "HubDouble":
        Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def create(self, repo: str, private: bool = False) -> Repo:
        """Makes a repository with its first commit, as the Hub does."""
        made = self.repos[repo] = Repo(private)
        made.branches["main"] = made.add(EMPTY)
        return made

    def commit(self, repo: str, files: Path | Mapping[str, bytes], *refs: str) -> str:
        """Commits a folder's content and points `refs` at it; gives the commit.

        Args:
            repo: Kind and id, such as ``datasets/someone/pets``.
            files: The folder, or path -> content.
            *refs: ``main`` or tags.
        """
        found = self.repos.get(repo) or self.create(repo)
        oid = found.add(read_folder(files) if isinstance(files, Path) else files)
        for ref in refs:
            (found.branches if ref == "main" else found.tags)[ref] = oid
        return oid

    def fail(self, kind: Kind, request: str, **more: Any) -> None:
        """Lets the next requests go wrong that match; see `Fault`."""
        self.faults.add(Fault(kind, request, **more))

    def count(self, part: str) -> int:
        """How many requests so far had this part in their method and path."""
        return sum(part in request for request in self.requests)
