"""`kdna-zoo publish --repo`, as a user runs it: in a process of its own, against a Hub."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kdna_zoo.release.folder import FILES
from tests.hub.conftest import ARCH, REPO
from tests.hub.double import READ, WRITE, HubDouble
from tests.hub.store import User as Owner
from tests.hub.user import User

pytestmark = pytest.mark.integration

MODEL = f"models/{REPO}"


def said(result: dict[str, Any]) -> str:
    """Everything a command wrote, if it ended well."""
    assert result.get("code") == 0, result
    return str(result["out"])


def test_published_again_and_with_an_edited_card(
    hub: HubDouble, publisher: User, checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    out = said(publisher.run("publish", checkpoint, "--repo", REPO, "--tag", "v1"))
    repo = hub.repos[MODEL]
    first = repo.branches["main"]
    assert f"On the Hub: {REPO}@{first} (changed LICENSE, README.md, config.json" in out
    assert "read back through timm: the same logits" in out
    assert set(repo.head) == {*FILES, ".gitattributes"} - {"conversion.png"}
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

    out = said(publisher.run("publish", checkpoint, "--repo", REPO, "--tag", "v1"))
    assert f"On the Hub: {REPO}@{first} (nothing to change)" in out, "v1 is as it was"
    assert repo.tags == {"v1": first}

    private = "someone/test_kdna_resnet.secret"
    said(publisher.run("publish", folder, "--repo", private, "--private"))
    assert hub.repos[f"models/{private}"].private
    refused = publisher.run("publish", folder, "--repo", REPO, "--private")
    assert f"{REPO} is there already, and it is public" in refused["err"]

    with User(hub, tmp_path / "stranger") as stranger:
        there = stranger.load(f"hf-hub:{REPO}@v1")
        here = publisher.load(f"hf-hub:{REPO}@{first}")
        assert there["logits"] == here["logits"]
        assert there["config"]["hf_hub_id"] == f"{REPO}@{first}", "the tag became its commit"
        assert "no such repository, or it is private" in str(
            stranger.run("classify", "x.png", "--model", f"hf-hub:{private}")
        ) or "RepositoryNotFound" in str(stranger.load(f"hf-hub:{private}"))


def test_proposals(hub: HubDouble, publisher: User, folder: Path, checkpoint: Path) -> None:
    """A second `--pr` finds the first, or goes on in it; the main branch stays as it is."""
    repo = "kdna-zoo/proposed"
    hub.users["hf_guest"] = Owner("guest")
    publisher.export(HF_TOKEN="hf_guest")
    refused = publisher.run("publish", folder, "--repo", repo, "--pr")
    assert f"there is no repository {repo} to propose to with --pr" in refused["err"]
    old = hub.commit(f"models/{repo}", {"config.json": b"{}"}, "main")
    there = hub.repos[f"models/{repo}"]

    def propose(*arguments: object) -> str:
        return said(publisher.run("publish", *arguments, "--repo", repo, "--pr"))

    page = f"{hub.url}/{repo}/discussions"
    assert f"{page}/1\n  pull request opened\n" in propose(folder)
    proposed = there.pulls["refs/pr/1"].oid
    out = propose(folder)
    assert f"{repo}@{proposed} (nothing to change)" in out
    assert f"{page}/1\n  pull request open already, with the same files\n" in out
    out = propose(checkpoint, "--license", "mit", "--tag-name", "tiny")
    assert "(changed LICENSE, README.md, config.json)" in out
    assert f"{page}/1\n  pull request brought up to date\n" in out
    assert b"license: mit" in there.commits[there.pulls["refs/pr/1"].oid]["README.md"]

    there.pulls["refs/pr/1"].title = "Weights, please"
    assert "open already" in propose(checkpoint, "--license", "mit", "--tag-name", "tiny")
    assert f"{page}/2\n  pull request opened\n" in propose(folder), "that one is somebody's own"
    there.pulls["refs/pr/2"].status = "closed"
    assert f"{page}/3\n  pull request opened\n" in propose(folder)
    publisher.export(HF_TOKEN=WRITE)
    hub.fail("lost", "/commit/")
    assert publisher.run("publish", folder, "--repo", repo, "--pr")["code"] == 1
    assert "open already" in propose(folder), "the answer was lost, and the pull request is there"
    assert len(there.pulls) == 4
    assert (there.branches["main"], there.tags) == (old, {})


def test_refused_before_anything_is_uploaded(hub: HubDouble, publisher: User, folder: Path) -> None:
    hub.users["hf_other"] = Owner("other")
    hub.users["hf_member"] = Owner("member", orgs=("kdna-zoo",), org_role="read")
    hub.users["hf_fine"] = Owner("fine", orgs=("kdna-zoo",), permissions=("repo.content.read",))
    mistakes = {
        "hf_member": "member cannot write to kdna-zoo/x: give a repository of member",
        "hf_fine": "the token of fine may only read",
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
    (folder / "notes.txt").write_text("no part of it")
    out = said(publisher.run("publish", folder, "--repo", REPO, "--dry-run"))
    (folder / "notes.txt").unlink()
    assert all(name in out for name in FILES if name != "conversion.png")
    assert "notes.txt" not in out
    assert f"# {ARCH}.tiny" in out
    assert f'MODEL = "hf-hub:{REPO}"' in out, "the card as it will be there"
    for arguments, message in (
        ((folder,), "say where to publish: --to FOLDER, --repo ORG/NAME, or --dry-run"),
        (
            (folder, "--repo", REPO, "--half"),
            "whose weights stay as they are: --half is for a checkpoint",
        ),
        ((folder, "--dry-run", "--private"), "--private is for the Hub: give --repo"),
        (
            (folder, "--repo", REPO, "--pr", "--tag", "v1"),
            "--tag is for a revision that stays, and a pull request's is another once it is merged",
        ),
        (
            (folder, "--repo", REPO, "--pr", "--update-manifest"),
            "--update-manifest is for a revision that stays",
        ),
        ((folder, "--repo", "a b"), "'a b' cannot be a repository on the Hub"),
        ((folder, "--repo", "name"), "it should be ORGANISATION/NAME"),
    ):
        result = publisher.run("publish", *arguments)
        assert result["code"] == 2
        assert message in result["err"]
    assert len(hub.requests) == before
    result = publisher.run("publish", folder.parent, "--repo", REPO)
    assert result["code"] == 2
    assert "is no published folder: it lacks LICENSE, README.md, config.json" in result["err"]


def test_a_folder_that_contradicts_itself(
    hub: HubDouble, publisher: User, folder: Path, tmp_path: Path
) -> None:
    weights, config = (folder / name for name in ("model.safetensors", "config.json"))
    stated = json.loads(config.read_text())

    def config_with(**changes: object) -> bytes:
        return json.dumps({**stated, **changes}).encode()

    source = {**stated["pretrained_cfg"], "num_classes": 7}
    of_seven = {"num_classes": 7, "label_names": stated["label_names"][:7]}
    of_seven["pretrained_cfg"] = source
    untagged = {k: v for k, v in stated["pretrained_cfg"].items() if k != "tag"}
    mistakes: list[tuple[str, bytes | None, str]] = [
        ("model.safetensors", weights.read_bytes()[:-1] + b"!", "it was altered or swapped"),
        ("model.safetensors", None, "is no published folder: it lacks model.safetensors"),
        ("README.md", None, "is no published folder: it lacks README.md"),
        ("metrics.json", b"{}", "is no published folder: config.json or metrics.json lacks 'data'"),
        ("config.json", config_with(**of_seven), "states 7 classes, and its weights have 10"),
        ("config.json", config_with(num_classes=7), "num_classes is 7, and 10 in pretrained_cfg"),
        ("config.json", config_with(architecture="test_kdna_convnext"), "the weights do not fit"),
        ("config.json", config_with(architecture="nonsense"), "Unknown model (nonsense)"),
        ("config.json", config_with(pretrained_cfg=untagged), "json lacks 'tag'"),
        ("config.json", b"{", "is no published folder: config.json cannot be read"),
    ]
    for number, (name, content, message) in enumerate(mistakes):
        wrong = shutil.copytree(folder, tmp_path / str(number))
        (wrong / name).unlink()
        if content is not None:
            (wrong / name).write_bytes(content)
        result = publisher.run("publish", wrong, "--repo", f"kdna-zoo/wrong{number}")
        assert (result.get("code"), f"models/kdna-zoo/wrong{number}" in hub.repos) == (2, False), (
            result
        )
        assert message in result["err"]


def test_the_token_is_never_shown_or_kept(hub: HubDouble, folder: Path, tmp_path: Path) -> None:
    """Neither if all goes well, nor in an error, nor where the client tells all it does."""
    with User(hub, tmp_path / "chatty", WRITE, more={"HF_DEBUG": "1"}) as chatty:
        done = chatty.run("publish", folder, "--repo", "kdna-zoo/chatty")
        hub.fail("status", "POST /api/models/.*/commit", status=403)
        failed = chatty.run("publish", folder, "--repo", "kdna-zoo/refused")
        trace = chatty.load("hf-hub:kdna-zoo/none")["trace"]
    assert (done["code"], failed["code"]) == (0, 1)
    assert "failed while uploading to kdna-zoo/refused: " in failed["err"]
    assert (
        "(the Hub is unwell). The repository has its old revision or the whole new" in failed["err"]
    )
    assert "with a token that may write there. Make a token with write access" in failed["err"]
    assert "Traceback" in trace
    assert "authorization: <TOKEN>" in chatty.log.read_text() + done["err"], "it did tell"
    written = [done, failed, trace, chatty.log.read_text()]
    written += [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(WRITE in str(text) for text in written)
