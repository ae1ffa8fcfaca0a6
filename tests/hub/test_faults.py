"""Faults in the middle of a publish or a load: what is left, and what the next try makes of it."""

from pathlib import Path
from typing import Any

import pytest

from tests.hub.double import HubDouble
from tests.hub.store import EMPTY
from tests.hub.user import User

pytestmark = pytest.mark.integration

PUBLISH: dict[str, dict[str, Any]] = {
    "503 when the repository is looked up": {"kind": "status", "request": "GET /api/models"},
    "403 when it is created": {
        "kind": "status",
        "request": "POST /api/repos/create",
        "status": 403,
    },
    "429 before the upload": {
        "kind": "status",
        "request": "preupload",
        "status": 429,
        "retry_after": 1,
    },
    "503 in the upload": {"kind": "status", "request": "PUT /lfs/"},
    "cut in the upload": {"kind": "cut", "request": "PUT /lfs/"},
    "altered in the upload": {"kind": "corrupt", "request": "PUT /lfs/"},
    "503 at the commit": {"kind": "status", "request": "/commit/"},
    "cut in the commit": {"kind": "cut", "request": "/commit/"},
    "committed, answer lost": {"kind": "lost", "request": "/commit/"},
    "503 at the tag": {"kind": "status", "request": "/tag/"},
    "tagged, answer lost": {"kind": "lost", "request": "/tag/"},
    "altered when read back": {"kind": "corrupt", "request": "GET /cdn/", "times": 2},
    "cut when read back": {"kind": "cut", "request": "GET /cdn/"},
}
LOAD: dict[str, dict[str, Any]] = {
    "503 at the head": {"kind": "status", "request": "HEAD .*safetensors"},
    "429 at the head": {
        "kind": "status",
        "request": "HEAD .*safetensors",
        "status": 429,
        "retry_after": 1,
    },
    "503 at the body": {"kind": "status", "request": "GET /cdn/"},
    "cut in the body": {"kind": "cut", "request": "GET /cdn/", "times": 2},
    "altered body": {"kind": "corrupt", "request": "GET /cdn/"},
    "slow body": {"kind": "slow", "request": "GET /cdn/"},
}


def test_publish_leaves_the_old_revision_or_the_new_one(
    hub: HubDouble, publisher: User, folder: Path
) -> None:
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    table = ["| fault | first try | left on the Hub | again |", "|---|---|---|---|"]
    for number, (name, fault) in enumerate(PUBLISH.items()):
        repo = f"kdna-zoo/fault{number}"
        hub.objects.clear()
        hub.fail(**fault)
        first = publisher.run("publish", folder, "--repo", repo, "--tag", "v1")
        hub.faults.clear()
        there = hub.repos.get(f"models/{repo}")
        left = describe(there.head if there else None, files)
        assert left in ("nothing", "an empty repository", "the new revision"), (name, left)
        if first["code"] == 0:  # the client tried again by itself
            assert (left, there.tags) == ("the new revision", {"v1": there.branches["main"]}), name
        else:
            assert first["code"] == 1, (name, first)
            assert "the same command again does what is missing" in first["err"], name
        again = publisher.run("publish", folder, "--repo", repo, "--tag", "v1")
        assert again["code"] == 0, (name, again)
        there = hub.repos[f"models/{repo}"]
        assert describe(there.head, files) == "the new revision"
        assert len(there.commits) == 2, f"{name}: one commit beside the Hub's first"
        assert there.tags == {"v1": there.branches["main"]}, name
        tried = "done after a retry" if first["code"] == 0 else "ends with exit code 1"
        table.append(f"| {name} | {tried} | {left} | done, no second commit |")
    print("\n".join(table))


def test_an_update_that_fails_leaves_the_release_before(
    hub: HubDouble, publisher: User, folder: Path
) -> None:
    repo = "kdna-zoo/update"
    old = {"config.json": b"{}", "model.safetensors": b"old"}
    hub.commit(f"models/{repo}", old, "main")
    hub.faults.clear()
    hub.objects.clear()
    hub.fail("corrupt", "PUT /lfs/")
    assert publisher.run("publish", folder, "--repo", repo)["code"] == 1
    hub.fail("status", "/commit/", status=403)
    assert publisher.run("publish", folder, "--repo", repo)["code"] == 1
    assert hub.repos[f"models/{repo}"].head == old
    assert len(hub.repos[f"models/{repo}"].commits) == 2, "the Hub's first and the old one"


def test_a_download_that_breaks_is_taken_up_again(
    hub: HubDouble, folder: Path, tmp_path: Path
) -> None:
    hub.commit("models/org/good", folder, "main")
    whole = (folder / "model.safetensors").read_bytes()
    table = ["| fault in a download | first try, and the next one works |", "|---|---|"]
    with User(hub, tmp_path) as user:
        for number, (name, fault) in enumerate(LOAD.items()):
            cache = tmp_path / str(number)
            hub.fail(**fault)
            first = user.load("hf-hub:org/good", cache_dir=str(cache))
            hub.faults.clear()
            if "error" in first:
                assert "cannot get model.safetensors of org/good" in first["error"], name
                assert not list(cache.rglob("model.safetensors")), name
            again = user.load("hf-hub:org/good", cache_dir=str(cache))
            assert "logits" in again, (name, again)
            table.append(f"| {name} | {'done after a retry' if 'logits' in first else 'error'} |")
            assert [file.read_bytes() for file in cache.rglob("model.safetensors")] == [whole], name
            assert not list(cache.rglob("*.incomplete")), name
    print("\n".join(table))


@pytest.mark.slow
def test_a_hub_that_is_down(hub: HubDouble, folder: Path, tmp_path: Path) -> None:
    hub.commit("models/org/good", folder, "main")
    hub.fail("status", "safetensors", times=99)
    with User(hub, tmp_path) as user:
        error = user.load("hf-hub:org/good")["error"]
    assert "it is not in the cache, and the Hub (http://127.0.0.1" in error
    assert "cannot be reached: check the connection and try again" in error


def describe(head: dict[str, bytes] | None, files: dict[str, bytes]) -> str:
    """What a repository holds; the card names the repository and so differs from the folder's."""
    if head is None:
        return "nothing"
    if head == EMPTY:
        return "an empty repository"
    same = {k: v for k, v in head.items() if k not in ("README.md", ".gitattributes")}
    whole = "README.md" in head and same == {k: v for k, v in files.items() if k != "README.md"}
    return "the new revision" if whole else f"a mixture: {sorted(head)}"
