"""A Hub of one's own: answers what `datasets` and `snapshot_download` ask to read data sets."""

import hashlib
import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit


class HubDouble:
    """Serves data set repositories from memory; use it as a context manager."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}  # id -> commit -> path -> content
        self.refs: dict[str, dict[str, str]] = {}  # id -> branch or tag -> commit
        self.down = False  # whether it answers that it is unavailable
        self.requests = 0
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "HubDouble":
        Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit(self, repo: str, folder: Path, *refs: str) -> str:
        """Publishes a folder and points `refs` at it; gives the commit."""
        files = {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        sha = hashlib.sha1(repr(files).encode()).hexdigest()
        self.repos.setdefault(repo, {})[sha] = files
        self.refs.setdefault(repo, {}).update(dict.fromkeys(refs, sha))
        return sha


class _Handler(BaseHTTPRequestHandler):
    hub: HubDouble
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.hub.requests += 1
        if self.hub.down:
            self._answer(503, b"", {})
            return
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "datasets"]:
            self._api("/".join(parts[2:4]), parts[4:])
        elif parts[:1] == ["datasets"] and parts[3:4] == ["resolve"]:
            self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        else:
            self._missing("RepoNotFound")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._missing("EntryNotFound")

    def _api(self, repo: str, rest: list[str]) -> None:
        found = self._find(repo, rest[1] if len(rest) > 1 else "main")
        if found is None:
            return
        sha, files = found
        if rest[:1] == ["tree"]:
            rows = [
                {
                    "type": "file",
                    "path": path,
                    "size": len(content),
                    "oid": hashlib.sha1(content).hexdigest(),
                }
                for path, content in files.items()
            ]
            self._json(rows)
        else:
            siblings = [{"rfilename": path} for path in files]
            self._json({"id": repo, "sha": sha, "siblings": siblings, "tags": []})

    def _file(self, repo: str, revision: str, path: str) -> None:
        found = self._find(repo, revision)
        if found is None:
            return
        sha, files = found
        if path not in files:
            self._missing("EntryNotFound", sha)
        else:
            etag = hashlib.sha256(files[path]).hexdigest()
            self._part(files[path], {"X-Repo-Commit": sha, "ETag": f'"{etag}"'})

    def _part(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Answers with the bytes asked for, as a stream asks for them."""
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if not asked:
            self._answer(200, content, headers)
            return
        first, last = (int(number) for number in asked.split("-"))
        part = content[first : last + 1]
        where = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        self._answer(206, part, {**headers, "Content-Range": where})

    def _find(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if repo not in self.hub.repos:
            self._missing("RepoNotFound")
            return None
        sha = self.hub.refs[repo].get(revision, revision)
        if sha not in self.hub.repos[repo]:
            self._missing("RevisionNotFound")
            return None
        return sha, self.hub.repos[repo][sha]

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str, sha: str | None = None) -> None:
        self._answer(404, b"", {"X-Error-Code": code} | ({"X-Repo-Commit": sha} if sha else {}))

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stays silent."""
