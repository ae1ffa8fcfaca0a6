"""A publisher that is killed in the middle, and one whom somebody else overtakes."""

from pathlib import Path
from typing import Any

import pytest

from tests.hub.double import HubDouble
from tests.hub.test_faults import describe
from tests.hub.user import EndedError, User

pytestmark = pytest.mark.integration

OLD = {"config.json": b"{}", "model.safetensors": b"old"}
MOMENTS: dict[str, tuple[dict[str, str], str]] = {
    "before the upload": ({"kind": "status", "request": "preupload"}, "old"),
    "in the upload": ({"kind": "cut", "request": "PUT /lfs/"}, "old"),
    "uploaded": ({"kind": "lost", "request": "PUT /lfs/"}, "old"),
    "in the commit": ({"kind": "cut", "request": "/commit/"}, "old"),
    "committed": ({"kind": "lost", "request": "/commit/"}, "new"),
    "tagged": ({"kind": "lost", "request": "/tag/"}, "new"),
    "in reading back": ({"kind": "cut", "request": "GET /cdn/"}, "new"),
}


def publish(folder: Path, repo: str) -> tuple[object, ...]:
    return "publish", folder, "--repo", repo, "--tag", "v2"


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_it_leaves_the_old_revision_or_the_new_one(
    hub: HubDouble, publisher: User, folder: Path, moment: str
) -> None:
    fault, left = MOMENTS[moment]
    repo = f"kdna-zoo/killed-{moment.replace(' ', '-')}"
    old = hub.commit(f"models/{repo}", OLD, "main", "v1")
    hub.objects.clear()
    with publisher.copy() as doomed:
        arguments: dict[str, Any] = {**fault, "meanwhile": doomed.kill}
        hub.fail(**arguments)
        with pytest.raises(EndedError):
            doomed.run(*publish(folder, repo))
    hub.faults.clear()
    there = hub.repos[f"models/{repo}"]
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert there.tags["v1"] == old
    if left == "old":
        assert (there.head, len(there.commits)) == (OLD, 2), "the Hub's first and the old one"
    else:
        assert describe(there.head, files) == "the new revision"
    again = publisher.run(*publish(folder, repo))
    assert again["code"] == 0, again
    assert describe(there.head, files) == "the new revision"
    assert len(there.commits) == 3, "one commit beside the old ones"
    assert there.tags == {"v1": old, "v2": there.branches["main"]}


def test_killed_when_the_repository_is_made(hub: HubDouble, publisher: User, folder: Path) -> None:
    repo = "kdna-zoo/killed-when-made"
    with publisher.copy() as doomed:
        hub.fail("lost", "POST /api/repos/create", meanwhile=doomed.kill)
        with pytest.raises(EndedError):
            doomed.run(*publish(folder, repo))
    assert len(hub.repos[f"models/{repo}"].commits) == 1
    assert publisher.run(*publish(folder, repo))["code"] == 0
    assert len(hub.repos[f"models/{repo}"].commits) == 2


def test_somebody_else_commits_in_the_middle(hub: HubDouble, publisher: User, folder: Path) -> None:
    repo, theirs = "kdna-zoo/overtaken", {**OLD, "config.json": b'{"theirs": 1}'}
    hub.commit(f"models/{repo}", OLD, "main")
    hub.fail("slow", "preupload", meanwhile=lambda: hub.commit(f"models/{repo}", theirs, "main"))
    overtaken = publisher.run("publish", folder, "--repo", repo)
    assert overtaken["code"] == 1
    assert "A commit has happened since" in overtaken["err"]
    assert "The repository has its old revision or the whole new one" in overtaken["err"]
    assert hub.repos[f"models/{repo}"].head == theirs
    assert publisher.run("publish", folder, "--repo", repo)["code"] == 0
