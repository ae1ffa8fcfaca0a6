"""The Hub's cache as people have it: with links of their own, forged, read-only, altered."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.hub.double import HubDouble
from tests.hub.user import User

PICTURE = Path(__file__).parents[2] / "kdna_zoo" / "release" / "examples" / "0.png"
OFFLINE = {"HF_HUB_OFFLINE": "1"}


def pointer(cache: Path, repo: str) -> Path:
    (found,) = cache.glob(f"models--{repo.replace('/', '--')}/snapshots/*/model.safetensors")
    return found


def altered(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("more", [{}, OFFLINE], ids=["online", "offline"])
@pytest.mark.parametrize("target", ["own", "other", "copy"])
def test_no_file_of_the_users_is_removed(
    hub: HubDouble, folder: Path, tmp_path: Path, target: str, more: dict[str, str]
) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for repo in ("org/mine", "org/other"):
        hub.commit(f"models/{repo}", folder, "main")
    with User(hub, tmp_path / "user") as user:
        for repo in ("org/mine", "org/other"):
            assert "logits" in user.load(f"hf-hub:{repo}")
    link = pointer(user.cache, "org/mine")
    own = tmp_path / "my-own.safetensors"
    if target == "other":
        own = pointer(user.cache, "org/other").resolve()
    link.unlink()
    if target == "copy":
        own = link
    else:
        link.symlink_to(own)
    own.write_bytes(altered(whole))
    with User(hub, tmp_path / "user", more=more) as user:
        error = user.load("hf-hub:org/mine")["error"]
    assert own.read_bytes() == altered(whole), "it is still there"
    assert link.exists()
    assert "it was altered or swapped" in error
    assert "none that the Hub's client downloaded, and stays as it is" in error
    assert "emove" not in error


def test_what_the_client_downloaded_is_fetched_again(
    hub: HubDouble, folder: Path, tmp_path: Path
) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    hub.commit("models/org/again", folder, "main")
    with User(hub, tmp_path / "user") as user:
        assert "logits" in user.load("hf-hub:org/again")
        blob = pointer(user.cache, "org/again").resolve()
        own = tmp_path / "my-own.safetensors"
        own.write_bytes(altered(whole))
        blob.unlink()
        blob.symlink_to(own)  # the client's own file is a link to the user's
        assert "logits" in user.load("hf-hub:org/again")
        assert own.read_bytes() == altered(whole)
        assert pointer(user.cache, "org/again").read_bytes() == whole


def test_a_moved_tag_and_a_forged_reference_are_said(
    hub: HubDouble, package: Path, folder: Path, tmp_path: Path
) -> None:
    repo = "kdna-zoo/pinned"
    first = hub.commit(f"models/{repo}", folder, "main", "v1")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    second = hub.commit(f"models/{repo}", {**files, "x": b""}, "main")
    top = package_with(
        package, tmp_path, folder, {"repo_id": repo, "revision": first, "version": "v1"}
    )
    with User(hub, tmp_path / "user", package=top) as user:
        assert "logits" in user.load(f"hf-hub:{repo}@v1")
        hub.repos[f"models/{repo}"].tags["v1"] = second
        error = user.load(f"hf-hub:{repo}@v1")["error"]
        assert f"refused {repo}@v1: it is at {second}, and was published at {first}" in error
        assert "the tag was moved" in error
        assert "logits" in user.load(f"hf-hub:{repo}@{first}")
        assert "logits" in user.load(f"hf-hub:{repo}"), "the main branch may move"
    references = user.cache / "models--kdna-zoo--pinned" / "refs"
    snapshots = references.parent / "snapshots"
    (references / "main").write_text("mine")
    os.rename(snapshots / second, snapshots / "mine")
    with User(hub, tmp_path / "user", package=top, more=OFFLINE) as user:
        error = user.load(f"hf-hub:{repo}")["error"]
        assert "the Hub's cache has 'mine' for it, which is no commit" in error


def test_config_is_pinned_with_the_weights(
    hub: HubDouble, package: Path, folder: Path, tmp_path: Path
) -> None:
    repo = "kdna-zoo/whole"
    first = hub.commit(f"models/{repo}", folder, "main", "v1")
    top = package_with(
        package, tmp_path, folder, {"repo_id": repo, "revision": first, "version": "v1"}
    )
    stated = json.loads((folder / "config.json").read_text())
    reversed_names = json.dumps({**stated, "label_names": stated["label_names"][::-1]})
    with User(hub, tmp_path / "user", package=top) as user:
        good = user.load(f"hf-hub:{repo}@{first}")
        config = pointer(user.cache, repo).with_name("config.json").resolve()
        config.write_text(reversed_names)
        error = user.load(f"hf-hub:{repo}@{first}")["error"]
        assert f"config.json of {repo}@{first} was altered in the Hub's cache" in error
        assert user.load(f"hf-hub:{repo}@{first}") == good, "it was fetched again"
        config.write_text(reversed_names)
        assert user.run("classify", PICTURE, "--model", f"hf-hub:{repo}")["code"] == 0
        hub.commit(
            "models/org/copy", {**files_of(folder), "config.json": reversed_names.encode()}, "main"
        )
        error = user.load("hf-hub:org/copy")["error"]
        assert "config.json states label_names ['Ankle boot', " in error
        assert "and the weights beside it are those of test_kdna_resnet.known" in error
    with User(hub, tmp_path / "user", package=top, more=OFFLINE) as user:
        config.write_text(reversed_names)
        error = user.load(f"hf-hub:{repo}@{first}")["error"]
        assert "it was altered: its sha256 is" in error
        assert "load it again while online (HF_HUB_OFFLINE is set)" in error


def test_main_moved_and_the_cache_cannot_be_written(
    hub: HubDouble, folder: Path, tmp_path: Path
) -> None:
    first = hub.commit("models/org/moving", folder, "main")
    with User(hub, tmp_path / "user") as user:
        good = user.load("hf-hub:org/moving")
        hub.commit("models/org/moving", {**files_of(folder), "x": b""}, "main")
        user.ask("read_only", str(user.cache))
        said = user.run("classify", PICTURE, "--model", "hf-hub:org/moving")
        assert said["code"] == 2
        assert "the cache cannot be written (Read-only file system: " in said["err"]
        assert f"It holds {first}, and what was asked for is not that" in said["err"]
        assert f"Take what is there, hf-hub:org/moving@{first} or HF_HUB_OFFLINE=1" in said["err"]
        assert "ry again" not in said["err"]
        assert user.load(f"hf-hub:org/moving@{first}")["logits"] == good["logits"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def package_with(package: Path, tmp_path: Path, folder: Path, entry: dict[str, Any]) -> Path:
    """A copy of the package whose manifest knows a folder's weights, by another name."""
    from kdna_zoo.release.manifest import describe_folder

    top = shutil.copytree(package, tmp_path / "checkout")
    path = top / "kdna_zoo" / "models" / "weights.json"
    described = describe_folder(folder, entry["repo_id"], entry["revision"], entry["version"])
    content = {"format": 1, "weights": {"test_kdna_resnet.known": vars(described)}}
    path.write_text(json.dumps(content))
    return top
