"""`timm.create_model(name, pretrained=True)` as a user calls it: manifest, cache, integrity."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load as load_bytes
from safetensors.torch import save

from tests.hub.conftest import ARCH, REPO
from tests.hub.double import WRITE, HubDouble
from tests.hub.store import Repo, sha256
from tests.hub.user import User

pytestmark = pytest.mark.integration

MODEL, NAME = f"models/{REPO}", f"{ARCH}.tiny"
OFFLINE = {"HF_HUB_OFFLINE": "1"}


def manifest_of(package: Path) -> dict[str, Any]:
    content = json.loads((package / "kdna_zoo" / "models" / "weights.json").read_text())
    weights: dict[str, Any] = content["weights"]
    return weights


def blob(cache: Path) -> Path:
    """The one large file in a cache."""
    (found,) = {file.resolve() for file in cache.rglob("model.safetensors")}
    return found


@contextmanager
def changed(repo: Repo, commit: str, files: dict[str, bytes]) -> Iterator[None]:
    """A commit with other files than were committed: what must never happen."""
    before = repo.commits[commit]
    repo.commits[commit] = {**before, **files}
    yield
    repo.commits[commit] = before


def flip(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_from_the_checkout_to_the_hub_and_back(
    hub: HubDouble, package: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """The way of a release: a folder of the checkout first, then the Hub, pinned."""
    folder = package / "hub" / NAME
    with User(hub, tmp_path / "owner", WRITE, package) as owner:
        elsewhere = tmp_path / "elsewhere" / NAME
        result = owner.run("publish", checkpoint, "--to", elsewhere, "--update-manifest")
        assert result["code"] == 2
        assert f"weights that are not on the Hub are looked for in hub/{NAME} of" in result["err"]
        assert f"or publish with --to {folder}" in result["err"]
        assert NAME not in manifest_of(package)
        result = owner.run("publish", checkpoint, "--to", folder, "--update-manifest")
        assert result["code"] == 0, result
    entry = manifest_of(package)[NAME]
    weights = folder / "model.safetensors"
    assert (entry["repo_id"], entry["revision"]) == (REPO, None)
    assert entry["sha256"] == sha256(weights.read_bytes())
    assert entry["size"] == weights.stat().st_size
    assert entry["num_classes"] == len(entry["label_names"]) == 10
    assert entry["data_config"]["mean"] == [0.286] * 3
    assert entry["recipe"] == "recipes/quickstart.yaml"
    assert entry["metrics"]["images"] == 128
    assert entry["metrics"]["seeds"] == [0]

    before_all = list(hub.requests)
    with User(hub, tmp_path / "fresh", WRITE, package, OFFLINE) as offline:
        here = offline.load(ARCH)
        assert offline.load(NAME) == here
        assert here["config"]["file"] == str(weights)
        assert here["config"]["num_classes"] == "10"
        untrained = offline.load(ARCH, pretrained=False)
        assert untrained["config"]["num_classes"] == "1000", "the architecture's own"
        assert "fits" not in offline.load(NAME, num_classes=3), "a new head is fine"
        refused = offline.load(NAME, num_classes=3, channels=[8, 8, 16, 24])["error"]
        assert "WeightsError: the weights do not fit test_kdna_resnet with these" in refused
        assert "layer4.0.conv1.weight' (16 x 16 x 3 x 3 in the file, 24 x 16" in refused
        assert (
            f"has no tag 'x'. Tags with weights: {NAME} (hub/ of this checkout)"
            in (offline.load(f"{ARCH}.x")["error"])
        )
        flip(weights)
        assert "it was altered or swapped: its sha256 is" in offline.load(NAME)["error"]
        result = offline.run("verify", NAME)
        assert result["code"] == 1
        assert f"| `{NAME}` | {folder} | WRONG: it was altered or swapped" in result["out"]
        flip(weights)
        assert offline.run("verify", NAME)["code"] == 0
        for file in (weights, folder / "metrics.json", folder / "config.json"):
            content = file.read_bytes()
            file.unlink()
            result = offline.run("verify", NAME)
            assert result["code"] == 1
            assert (
                f"WRONG: it lacks {file.name}. Get it again: `git checkout -- hub" in result["out"]
            )
            if file == weights:
                assert f"WeightsError: there is no file {weights}" in offline.load(NAME)["error"]
            file.write_bytes(content)
        result = offline.run("verify", "kdna_resnet18.fmnist")
        assert result["code"] == 1
        assert "there is no such folder, and the weights are not on the Hub either" in result["out"]
    assert hub.requests == before_all, "nothing of this asked the Hub"

    with User(hub, tmp_path / "owner", WRITE, package) as owner:
        result = owner.run("publish", folder, "--repo", REPO, "--tag", "v1", "--update-manifest")
        assert result["code"] == 0, result
    entry = manifest_of(package)[NAME]
    pinned = hub.repos[MODEL].tags["v1"]
    assert (entry["revision"], entry["version"]) == (pinned, "v1")

    shutil.rmtree(folder)
    with User(hub, tmp_path / "user", package=package) as user:
        assert user.load(ARCH)["logits"] == here["logits"]
        before = len(hub.requests)
        assert user.load(NAME)["logits"] == here["logits"]
        assert len(hub.requests) == before, "a pinned commit in the cache needs no request"
        assert user.run("verify", NAME)["code"] == 0
        stated = json.loads(hub.repos[MODEL].head["config.json"])
        for change, message in (
            (
                {"model_args": {"act": "gelu"}},
                "states model_args {'act': 'gelu'}, and the manifest",
            ),
            ({"num_classes": 9}, "num_classes is 9, and 10 in pretrained_cfg"),
            ({"label_names": stated["label_names"][::-1]}, "states label_names ['Ankle boot',"),
            ({"mean": [0, 0, 0]}, "states mean [0, 0, 0], and the manifest [0.286, 0.286, 0.286]"),
            ({"more": 1}, "it was altered: its sha256 is"),
        ):
            contradicting = json.dumps({**stated, **change}).encode()
            with changed(hub.repos[MODEL], pinned, {"config.json": contradicting}):
                wrong = [
                    line for line in user.run("verify", NAME)["out"].splitlines() if "WRONG" in line
                ]
                assert message in str(wrong), change
        with changed(hub.repos[MODEL], pinned, {"model.safetensors": b"other"}):
            assert "WRONG: the weights were swapped: their sha" in user.run("verify", NAME)["out"]
        shutil.rmtree(user.cache)
        assert user.load(ARCH)["logits"] == here["logits"]
        hub.commit(MODEL, {**hub.repos[MODEL].head, "x": b""}, "v1")
        result = user.run("verify", NAME)
        assert result["code"] == 1
        assert "WRONG: tag v1 moved: it is at" in result["out"]

        flip(blob(user.cache))
        hub.fail("status", "GET /cdn/", status=500, times=9)
        both = user.load(NAME)["error"]
        assert "it was altered or swapped: its sha256 is" in both
        assert f"A new download failed: cannot get model.safetensors of {REPO}@{pinned}" in both
        hub.faults.clear()
        assert user.load(NAME)["logits"] == here["logits"], "fetched once more"
        hub.fail("corrupt", f"GET /cdn/{entry['sha256']}", times=9)
        blob(user.cache).unlink()
        refused = user.load(NAME)["error"]
        assert f"refused model.safetensors of {REPO}@{pinned} (cache: {user.cache})" in refused
        assert "it was altered or swapped: its sha256 is" in refused
        assert "A new download was no better: tell the publisher, or pin an earlier" in refused
        hub.faults.clear()
        assert user.load(NAME)["logits"] == here["logits"], "the next load tries again"
        blob(user.cache).unlink()
        hub.fail("cut", "GET /cdn/")
        assert user.load(NAME)["logits"] == here["logits"], "a cut download goes on"

    with User(hub, tmp_path / "user", package=package, more=OFFLINE) as offline:
        before = len(hub.requests)
        assert offline.load(ARCH)["logits"] == here["logits"], "warm cache"
        flip(blob(offline.cache))
        assert "load it again while online (HF_HUB_OFFLINE is set)" in offline.load(NAME)["error"]
        shutil.rmtree(offline.cache)
        cold = offline.load(NAME)["error"]
        assert f"cannot get model.safetensors of {REPO}@{pinned} (cache: {offline.cache})" in cold
        assert "it is not in the cache, and HF_HUB_OFFLINE is set. Unset it" in cold
        picture = package / "kdna_zoo" / "release" / "examples" / "0.png"
        result = offline.run("classify", picture, "--model", "hf-hub:org/none")
        assert result["code"] == 2
        assert "cannot get config.json of org/none (cache: " in result["err"]
        assert "HF_HUB_OFFLINE is set" in result["err"]
        assert len(hub.requests) == before


def test_repositories_that_are_not_what_they_say(
    hub: HubDouble, folder: Path, tmp_path: Path
) -> None:
    good = {file.name: file.read_bytes() for file in folder.iterdir()}
    weights, config = good["model.safetensors"], json.loads(good["config.json"])
    other = {**config, "num_classes": 7, "label_names": config["label_names"][:7]}
    other["pretrained_cfg"] = {**config["pretrained_cfg"], "num_classes": 7}
    unstated = {key: value for key, value in config.items() if key != "weights"}
    source = {**config["pretrained_cfg"], "hf_hub_filename": "pytorch_model.bin"}
    pickled = json.dumps({**config, "pretrained_cfg": source}).encode()
    changes: dict[str, tuple[dict[str, bytes], str]] = {
        "flipped": (
            {"model.safetensors": weights[:-1] + bytes([weights[-1] ^ 1])},
            "it was altered or swapped",
        ),
        "short": ({"model.safetensors": weights[:-9]}, f"and {len(weights):,} were published"),
        "cut": (
            {
                "model.safetensors": weights[:-9],
                "config.json": json.dumps(unstated).encode(),
            },
            "it is cut off or no safetensors file",
        ),
        "classes": (
            {"config.json": json.dumps(other).encode()},
            "states 7 classes, and its weights have 10",
        ),
        "arch": (
            {"config.json": json.dumps({**config, "architecture": "test_kdna_convnext"}).encode()},
            "the weights do not fit test_kdna_convnext",
        ),
        "pickle": ({"model.safetensors": b"", "pytorch_model.bin": b"x"}, "holds no such file"),
        "named": (
            {"config.json": pickled, "pytorch_model.bin": b"x"},
            "refused pytorch_model.bin of org/named: it may hold code. Only safetensors",
        ),
    }
    with User(hub, tmp_path) as user:
        for name, (change, message) in changes.items():
            files = {k: v for k, v in {**good, **change}.items() if v}
            hub.commit(f"models/org/{name}", files, "main")
            error = user.load(f"hf-hub:org/{name}")["error"]
            assert error.startswith("WeightsError: "), (name, error)
            assert message in error, name
        state = load_bytes(weights)
        lacks = {k: v for k, v in state.items() if k != "layer2.0.bn1.bias"}
        files = {"config.json": json.dumps(unstated).encode(), "model.safetensors": save(lacks)}
        hub.commit("models/org/lacks", files, "main")
        for arguments in ({}, {"num_classes": 3}):  # with a new head timm itself would not mind
            error = user.load("hf-hub:org/lacks", **arguments)["error"]
            assert "with these arguments: missing: 'layer2.0.bn1.bias'. Create it" in error
        del state["fc.weight"], state["fc.bias"]
        hub.commit("models/org/headless", {**files, "model.safetensors": save(state)}, "main")
        assert "logits" in user.load("hf-hub:org/headless", num_classes=3)
        assert "missing: 'fc.weight', 'fc.bias'" in user.load("hf-hub:org/headless")["error"]
        hub.commit("models/org/deep", {"a/b.safetensors": weights}, "main")
        deep = {"hf_hub_id": "org/deep", "hf_hub_filename": "a/b.safetensors", "num_classes": 10}
        assert "logits" in user.load(ARCH, pretrained_cfg_overlay=deep), "a file in a folder"
        hub.commit("models/org/good", good, "main")
        assert "logits" in user.load("hf-hub:org/good", num_classes=3)
        gone = user.load("hf-hub:org/good@v9")["error"]
        assert "RevisionNotFoundError" in gone
