"""The Hub's answers: one method for each thing that its clients ask for."""

import base64
import json
import re
from typing import Any, ClassVar

import yaml

from tests.hub.store import Pull, Repo, describe, is_lfs, oid_of, sha256
from tests.hub.wire import RefusedError, Wire

ID, FETCH = r"(?P<id>[^/]+/[^/]+)", "(GET|HEAD)"
REPO = rf"/api/(?P<kind>models|datasets)/{ID}"
ROUTES = {
    r"GET /api/whoami-v2": "whoami",
    r"POST /api/repos/create": "create",
    r"POST /api/validate-yaml": "validate_yaml",
    rf"GET {REPO}(/revision/(?P<revision>.+))?": "info",
    rf"GET {REPO}/refs": "refs",
    rf"GET {REPO}/discussions": "discussions",
    rf"GET {REPO}/tree/(?P<revision>[^/]+)(/(?P<path>.+))?": "tree",
    rf"POST {REPO}/preupload/(?P<revision>.+)": "preupload",
    rf"POST {REPO}/commit/(?P<revision>.+)": "commit",
    rf"POST {REPO}/tag/(?P<revision>.+)": "tag",
    rf"POST /{ID}\.git/info/lfs/objects/batch": "lfs_batch",
    r"PUT /lfs/(?P<oid>\w+)": "lfs_put",
    r"POST /lfs/verify": "lfs_verify",
    rf"{FETCH} /((?P<kind>datasets)/)?{ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)": "resolve",
    rf"{FETCH} /cdn/(?P<oid>\w+)": "cdn",
}  # fmt: skip


class Handler(Wire):
    """Answers for models and data sets; large files go by LFS, as without xet."""

    routes: ClassVar = ROUTES

    # who and what

    def whoami(self) -> Any:
        user = self._user(needed=True)
        orgs = [{"name": name, "type": "org", "roleInOrg": user.org_role} for name in user.orgs]
        token: dict[str, Any] = {"role": user.role}
        if user.permissions:
            scope = {"entity": {"name": user.name}, "permissions": user.permissions}
            token = {"role": "fineGrained", "fineGrained": {"global": [], "scoped": [scope]}}
        return {"type": "user", "name": user.name, "orgs": orgs, "auth": {"accessToken": token}}

    def create(self) -> Any:
        wanted = json.loads(self.body)
        name = f"{wanted.get('organization') or self._user(needed=True).name}/{wanted['name']}"
        self._may_write(name)
        url = {"url": f"{self.hub.url}/{name}"}
        if f"models/{name}" in self.hub.repos:
            return 409, json.dumps(url).encode(), {"X-Error-Message": "You already created it"}
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.create(f"models/{name}", bool(private))
        return url

    def validate_yaml(self) -> Any:
        content = json.loads(self.body)["content"]
        front = re.match(r"---\n(.*?)\n---", content, re.DOTALL)
        try:
            yaml.safe_load(front[1] if front else "")
        except yaml.YAMLError as error:
            told = {"errors": [{"message": f"no YAML: {error}"}], "warnings": []}
            return 400, json.dumps(told).encode(), {"Content-Type": "application/json"}
        known = {"apache-2.0", "mit", "other"}
        license = (yaml.safe_load(front[1]) or {}).get("license") if front else None
        if license not in (None, *known):
            told = {"errors": [{"message": f'"license" must be one of {sorted(known)}'}]}
            return 400, json.dumps(told).encode(), {"Content-Type": "application/json"}
        return {"errors": [], "warnings": []}

    def info(self, kind: str, id: str, revision: str = "main") -> Any:
        repo, oid = self._commit(kind, id, revision)
        rows = [
            {"rfilename": row["path"], "size": row["size"], "blobId": row["oid"]}
            | ({"lfs": {"sha256": row["lfs"].pop("oid"), **row["lfs"]}} if "lfs" in row else {})
            for row in (describe(p, c) for p, c in repo.commits[oid].items())
        ]
        return {"id": id, "sha": oid, "private": repo.private, "siblings": rows, "tags": []}

    def refs(self, kind: str, id: str) -> Any:
        repo = self._repo(kind, id)
        names = {"branches": repo.branches, "tags": repo.tags}
        prefix = {"branches": "refs/heads/", "tags": "refs/tags/"}
        return {"converts": [], "pullRequests": []} | {
            what: [
                {"name": name, "ref": prefix[what] + name, "targetCommit": oid}
                for name, oid in refs.items()
            ]
            for what, refs in names.items()
        }

    def tree(self, kind: str, id: str, revision: str, path: str = "") -> Any:
        repo, oid = self._commit(kind, id, revision)
        files = repo.commits[oid].items()
        return [describe(p, c) for p, c in files if not path or p.startswith(f"{path}/")]

    # uploads

    def preupload(self, kind: str, id: str, revision: str) -> Any:
        self._may_push(kind, id, revision)
        repo, oid = self._commit(kind, id, revision)
        there = repo.commits[oid]
        return {
            "files": [
                {
                    "path": path,
                    "uploadMode": "lfs" if is_lfs(path) else "regular",
                    "shouldIgnore": False,
                    "oid": oid_of(path, there[path]) if path in there else None,
                }
                for path in (file["path"] for file in json.loads(self.body)["files"])
            ]
        }

    def lfs_batch(self, id: str) -> Any:
        self._user(needed=True)
        objects = json.loads(self.body)["objects"]
        for wanted in objects:
            if wanted["oid"] not in self.hub.objects:
                wanted["actions"] = {
                    "upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"},
                    "verify": {"href": f"{self.hub.url}/lfs/verify"},
                }
        return {"transfer": "basic", "objects": objects}

    def lfs_put(self, oid: str) -> Any:
        if sha256(self.body) != oid:
            raise RefusedError(400, "the content does not have the sha256 that was announced")
        self.hub.objects[oid] = self.body
        return {}

    def lfs_verify(self) -> Any:
        if json.loads(self.body)["oid"] not in self.hub.objects:
            raise RefusedError(404, "no such object")
        return {}

    def commit(self, kind: str, id: str, revision: str) -> Any:
        self._may_push(kind, id, revision)
        repo, parent = self._commit(kind, id, revision)
        files, title = dict(repo.commits[parent]), ""
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, parent):
                    raise RefusedError(
                        412, "A commit has happened since. Please refresh and try again."
                    )
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise RefusedError(400, f"{value['path']} was not uploaded")
                files[value["path"]] = self.hub.objects[value["oid"]]
            if line["key"] == "deletedFile":
                del files[value["path"]]
        oid = repo.add(files)
        page = f"{self.hub.url}/{id}"
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{page}/commit/{oid}"}
        if "create_pr" in self.query:
            number = len(repo.pulls) + 1
            repo.pulls[f"refs/pr/{number}"] = Pull(self._user().name, title, oid)
            answer["pullRequestUrl"] = f"{page}/discussions/{number}"
        elif revision in repo.pulls:
            repo.pulls[revision].oid = oid
        else:
            repo.branches[revision] = oid
        return answer

    def discussions(self, kind: str, id: str) -> Any:
        repo, author = self._repo(kind, id), self.query.get("author")
        pulls = [(int(ref.rpartition("/")[2]), pull) for ref, pull in repo.pulls.items()]
        rows = [
            {
                "num": number,
                "title": pull.title,
                "author": {"name": pull.author},
                "status": pull.status,
                "isPullRequest": True,
                "createdAt": "2026-11-25T00:00:00.000Z",
                "repo": {"name": id, "type": "model"},
            }
            for number, pull in pulls
            if author in (None, pull.author)
        ]
        return {"discussions": rows, "count": len(rows), "start": 0}

    def tag(self, kind: str, id: str, revision: str) -> Any:
        self._may_write(id)
        repo, oid = self._commit(kind, id, revision)
        name = json.loads(self.body)["tag"]
        if name in repo.tags:
            raise RefusedError(409, "Tag reference exists already")
        repo.tags[name] = oid
        return {}

    # downloads

    def resolve(self, id: str, revision: str, path: str, kind: str = "models") -> Any:
        repo, oid = self._commit(kind, id, revision)
        headers = {"X-Repo-Commit": oid}
        content = repo.commits[oid].get(path)
        if content is None:
            return 404, b"", headers | {"X-Error-Code": "EntryNotFound"}
        etag = f'"{oid_of(path, content)}"'
        if not is_lfs(path):
            return self._content(content, headers | {"ETag": etag})
        digest = sha256(content)
        self.hub.objects.setdefault(digest, content)
        headers |= {"X-Linked-ETag": etag, "X-Linked-Size": str(len(content))}
        return 302, b"", headers | {"Location": f"{self.hub.cdn_url}/cdn/{digest}"}

    def cdn(self, oid: str) -> Any:
        return self._content(self.hub.objects[oid], {"ETag": f'"{oid}"'})

    def _content(self, content: bytes, headers: dict[str, str]) -> Any:
        if self.headers.get("If-None-Match") == headers["ETag"]:
            return 304, b"", headers
        headers["Accept-Ranges"] = "bytes"
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return 200, content, headers
        start, end = int(asked[1]), int(asked[2] or len(content) - 1)
        if start >= len(content):
            return 416, b"", headers | {"Content-Range": f"bytes */{len(content)}"}
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return 206, content[start : end + 1], headers

    # what they have in common

    def _user(self, needed: bool = False) -> Any:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.users:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        if needed and not token:
            raise RefusedError(401, "Invalid username or password.")
        return self.hub.users.get(token)

    def _may_write(self, id: str) -> None:
        if not self._user(needed=True).may_write(id):
            raise RefusedError(403, f"You don't have the rights to write to {id}")

    def _may_push(self, kind: str, id: str, revision: str) -> None:
        """Anybody may open a pull request and add to it; others' revisions need rights."""
        user, pull = self._user(needed=True), self._repo(kind, id).pulls.get(revision)
        if "create_pr" not in self.query and not (pull and pull.author == user.name):
            self._may_write(id)

    def _repo(self, kind: str, id: str) -> Repo:
        user, repo = self._user(), self.hub.repos.get(f"{kind}/{id}")
        if repo is None or (
            repo.private and not (user and id.split("/")[0] in (user.name, *user.orgs))
        ):
            raise RefusedError(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def _commit(self, kind: str, id: str, revision: str) -> tuple[Repo, str]:
        repo = self._repo(kind, id)
        oid = repo.find(revision)
        if oid is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repo, oid
