"""`kdna-zoo publish --repo`, as a user runs it: in a process of its own, against a Hub."""

import shutil
from pathlib import Path
from typing import Any

from kdna_zoo.release.folder import FILES
from tests.hub.conftest import ARCH, REPO
from tests.hub.double import READ, WRITE, HubDouble
from tests.hub.store import User as Owner
from tests.hub.user import User

MODEL = f"models/{REPO}"


def said(result: dict[str, Any]) -> str:
    """Everything a command wrote, if it ended well."""
    assert result.get("code") == 0, result
    return str(result["out"])


def test_published_again_and_with_an_edited_card(
    hub: HubDouble, publisher: User, checkpoint: Path, tmp_path: Path
) -> None:
    out = said(publisher.run("publish", checkpoint, "--repo", REPO, "--tag", "v1"))
    repo = hub.repos[MODEL]
    first = repo.branches["main"]
    assert f"On the Hub: {REPO}@{first} (changed LICENSE, README.md, config.json" in out
    assert "read back through timm: the same logits" in out
    assert set(repo.head) == {*FILES, ".gitattributes"}
    assert repo.tags == {"v1": first}
    assert len(repo.commits) == 2, "the Hub's own first commit, and ours"
    assert f'MODEL = "hf-hub:{REPO}"' in repo.head["README.md"].decode()
    assert f"# {ARCH}.tiny" in repo.head["README.md"].decode(), "the tag is the repository's"

    out = said(publisher.run("publish", checkpoint, "--repo", REPO, "--tag", "v1"))
    assert "(nothing to change)" in out
    assert len(repo.commits) == 2

    refused = publisher.run(
        "publish", checkpoint, "--repo", REPO, "--tag", "v1", "--license", "mit"
    )
    assert refused["code"] == 2
    assert f"has a tag v1 already, at {first}, and a tag stays" in refused["err"]
    assert len(repo.commits) == 2

    edited = repo.head["README.md"].replace(b"## Usage", b"## How to use it")
    hub.commit(MODEL, {**repo.head, "README.md": edited}, "main")
    out = said(publisher.run("publish", checkpoint, "--repo", REPO, "--license", "mit"))
    assert "README.md on the Hub was edited and stays" in out
    assert repo.head["README.md"] == edited
    assert b"licence mit" in repo.head["LICENSE"]
    out = said(
        publisher.run("publish", checkpoint, "--repo", REPO, "--license", "mit", "--overwrite-card")
    )
    assert "(changed README.md)" in out
    assert b"license: mit" in repo.head["README.md"]

    before = len(repo.commits)
    out = said(publisher.run("publish", checkpoint, "--repo", REPO, "--pr"))
    assert len(repo.commits) == before + 1
    assert f"{hub.url}/{REPO}/discussions/1" in out
    assert b"license: mit" in repo.head["README.md"], "the main branch stays as it was"

    private = "someone/test_kdna_resnet.secret"
    said(publisher.run("publish", checkpoint, "--repo", private, "--private"))
    assert hub.repos[f"models/{private}"].private
    refused = publisher.run("publish", checkpoint, "--repo", REPO, "--private")
    assert f"{REPO} is there already, and it is public" in refused["err"]

    with User(hub, tmp_path / "stranger") as stranger:
        there = stranger.load(f"hf-hub:{REPO}@v1")
        here = publisher.load(f"hf-hub:{REPO}@{first}")
        assert there["logits"] == here["logits"]
        assert there["config"]["hf_hub_id"] == f"{REPO}@{first}", "the tag became its commit"
        assert "no such repository, or it is private" in str(
            stranger.run("classify", "x.png", "--model", f"hf-hub:{private}")
        ) or "RepositoryNotFound" in str(stranger.load(f"hf-hub:{private}"))


def test_refused_before_anything_is_uploaded(hub: HubDouble, publisher: User, folder: Path) -> None:
    hub.users["hf_other"] = Owner("other")
    mistakes = {
        None: "there is none. Make a token with write access",
        READ: "the token of reader may only read",
        "hf_other": "other cannot write to kdna-zoo/x: give a repository of other, or propose",
        "hf_unknown": "the Hub does not know this token",
    }
    before = hub.count("POST"), hub.count("PUT")
    for token, message in mistakes.items():
        publisher.export(HF_TOKEN=token)
        result = publisher.run("publish", folder, "--repo", "kdna-zoo/x")
        assert result["code"] == 2
        assert message in result["err"]
        assert not token or token not in str(result)
    publisher.export(HF_TOKEN=WRITE)
    assert (hub.count("POST"), hub.count("PUT")) == before
    assert "models/kdna-zoo/x" not in hub.repos


def test_dry_run_and_odd_options(hub: HubDouble, publisher: User, folder: Path) -> None:
    before = len(hub.requests)
    out = said(publisher.run("publish", folder, "--repo", REPO, "--dry-run"))
    assert all(name in out for name in FILES)
    assert f"# {ARCH}.tiny" in out
    for arguments, message in (
        ((folder,), "say where to publish: --to FOLDER, --repo ORG/NAME, or --dry-run"),
        (
            (folder, "--repo", REPO, "--half"),
            "goes to the Hub as it is: --half is for a checkpoint",
        ),
        ((folder, "--dry-run", "--private"), "--private is for the Hub: give --repo"),
        ((folder, "--repo", "a b"), "'a b' cannot be a repository on the Hub"),
        ((folder, "--repo", "name"), "it should be ORGANISATION/NAME"),
    ):
        result = publisher.run("publish", *arguments)
        assert result["code"] == 2
        assert message in result["err"]
    assert len(hub.requests) == before
    result = publisher.run("publish", folder.parent, "--repo", REPO)
    assert result["code"] == 2
    assert "is no published folder: config.json cannot be read" in result["err"]


def test_a_folder_that_contradicts_itself(
    hub: HubDouble, publisher: User, folder: Path, tmp_path: Path
) -> None:
    altered = shutil.copytree(folder, tmp_path / "altered")
    weights = altered / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    result = publisher.run("publish", altered, "--repo", "kdna-zoo/altered")
    assert result["code"] == 2
    assert f"refused {weights}: it was altered or swapped" in result["err"]
    assert "models/kdna-zoo/altered" not in hub.repos


def test_the_token_is_never_shown_or_kept(hub: HubDouble, publisher: User, folder: Path) -> None:
    hub.fail("status", "POST /api/models/.*/commit", status=403)
    failed = publisher.run("publish", folder, "--repo", "kdna-zoo/refused")
    assert failed["code"] == 1
    assert "failed while uploading to kdna-zoo/refused: " in failed["err"]
    assert "The repository has its old revision or the whole new one" in failed["err"]
    assert WRITE not in str(failed)
    for file in publisher.cache.parent.rglob("*"):
        assert not file.is_file() or WRITE.encode() not in file.read_bytes()
