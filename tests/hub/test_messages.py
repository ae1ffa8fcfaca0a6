"""What is said when the Hub answers no, or nothing: its status, what that means, what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.double import HubDouble
from tests.hub.store import EMPTY
from tests.hub.user import User

PICTURE = Path(__file__).parents[2] / "kdna_zoo" / "release" / "examples" / "0.png"
ANSWERS = {
    "500": (
        {"status": 500},
        "is there and fails, also when asked again: 500 Internal Server Error",
    ),
    "429": ({"status": 429}, "too many requests from here: 429 Too Many Requests (the Hub is"),
    "401": ({"status": 401}, "refuses the token: 401 Unauthorized"),
    "403": (
        {"status": 403},
        "forbids it: 403 Forbidden (the Hub is unwell). Take a token that may",
    ),
    "gated": (
        {"status": 403, "code": "GatedRepo"},
        "its owner lets in only whom they allow (403 Forbidden (the Hub is unwell)): ask for",
    ),
    "404": ({"status": 404}, "answers 404 Not Found (the Hub is unwell). If HF_ENDPOINT is set"),
}
UPLOADS = {
    "PUT /lfs/": (
        403,
        "Error while uploading 'model.safetensors' to the Hub: 403 Forbidden (the Hub",
    ),
    "preupload": (429, "429 Too Many Requests (the Hub is unwell). The repository has its old"),
    "/commit/": (413, "413 Request Entity Too Large (the Hub is unwell)"),
    "lfs/objects/batch": (500, "500 Internal Server Error (the Hub is unwell)"),
}


@pytest.fixture(scope="module")
def reader(hub: HubDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    with User(hub, tmp_path_factory.mktemp("reader")) as user:
        user.ask("hasten")
        yield user


@pytest.mark.parametrize("where", ["HEAD .*config.json", "HEAD .*safetensors", "GET /cdn/"])
@pytest.mark.parametrize("which", ANSWERS)
def test_an_answer_that_lasts_is_named(
    hub: HubDouble, reader: User, folder: Path, which: str, where: str
) -> None:
    fault, message = ANSWERS[which]
    repo = f"org/{which}-{where[-5:-1].strip('/')}"
    hub.commit(f"models/{repo}", folder, "main")
    hub.fail("status", where, times=99, **fault)
    said = reader.run("classify", PICTURE, "--model", f"hf-hub:{repo}")
    hub.faults.clear()
    assert said["code"] == 2
    file = "config.json" if "config" in where else "model.safetensors"
    assert said["err"].startswith(f"kdna-zoo: cannot get {file} of {repo}")
    assert message in said["err"]
    assert "cannot be reached" not in said["err"]
    assert "no such repository" not in said["err"]
    assert said["err"].count("\n") == 1


def test_a_token_that_the_hub_does_not_know(hub: HubDouble, reader: User, folder: Path) -> None:
    hub.commit("models/org/public", folder, "main")
    reader.export(HF_TOKEN="hf_unknown")
    said = reader.run("classify", PICTURE, "--model", "hf-hub:org/public")
    reader.export(HF_TOKEN=None)
    assert "refuses the token: 401 Unauthorized (Invalid credentials in Auth" in said["err"]
    assert "unset HF_TOKEN: what is public needs none" in said["err"]


def test_offline_and_nobody_there(hub: HubDouble, folder: Path, tmp_path: Path) -> None:
    fit = ("validate", "--config", "recipes/quickstart.yaml", "--model.arch", "hf-hub:org/nowhere")
    model = ("--model.arch_args", "null", "--model.pretrained", "true")
    with User(hub, tmp_path / "offline", more={"HF_HUB_OFFLINE": "1"}) as user:
        for command in (
            ("classify", PICTURE, "--model", "hf-hub:org/nowhere"),
            (*fit, *model, "--trainer.default_root_dir", tmp_path / "run"),
        ):
            said = user.run(*command)
            assert said["code"] == 2
            assert "cannot get config.json of org/nowhere (cache: " in said["err"]
            assert "it is not in the cache, and HF_HUB_OFFLINE is set. Unset it" in said["err"]
            assert "connection" not in said["err"]
    with User(hub, tmp_path / "alone", more={"HF_ENDPOINT": "http://127.0.0.1:9"}) as user:
        user.ask("hasten")
        said = user.run("classify", PICTURE, "--model", "hf-hub:org/nowhere")
        assert "the Hub (http://127.0.0.1:9) cannot be reached: check the connection" in said["err"]
        assert "Connection refused" in said["err"]


@pytest.mark.parametrize("request_", UPLOADS)
def test_an_upload_that_fails_names_cause_and_status(
    hub: HubDouble, publisher: User, folder: Path, request_: str
) -> None:
    status, message = UPLOADS[request_]
    publisher.ask("hasten")
    hub.objects.clear()
    hub.fail("status", request_, times=99, status=status)
    repo = f"kdna-zoo/upload-{status}"
    said = publisher.run("publish", folder, "--repo", repo, "--tag", "v1")
    hub.faults.clear()
    assert said["code"] == 1
    assert message in said["err"]
    assert publisher.run("publish", folder, "--repo", repo, "--tag", "v1")["code"] == 0


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("license: [a", "expected ',' or ']'"),
        ("- a\n- b", "it holds ['a', 'b'], and should hold `key: value` lines"),
        ("license: mine", '"license" must be one of'),
    ],
)
def test_a_card_that_the_hub_does_not_take(
    hub: HubDouble, publisher: User, folder: Path, tmp_path: Path, front: str, reason: str
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in folder.iterdir():
        (bad / file.name).write_bytes(file.read_bytes())
    (bad / "README.md").write_text(f"---\n{front}\n---\n# Mine\n")
    said = publisher.run("publish", bad, "--repo", "kdna-zoo/card")
    assert said["code"] == 2
    assert f"the Hub does not take {bad / 'README.md'}: its front matter" in said["err"]
    assert reason in said["err"]
    assert "same command again" not in said["err"]
    assert "models/kdna-zoo/card" not in hub.repos, "no empty repository is left"


def test_the_tag_comes_after_the_read_back(hub: HubDouble, publisher: User, folder: Path) -> None:
    repo = "kdna-zoo/tagged-last"
    hub.objects.clear()
    hub.fail("corrupt", "GET /cdn/", times=2)
    said = publisher.run("publish", folder, "--repo", repo, "--tag", "v1")
    hub.faults.clear()
    there = hub.repos[f"models/{repo}"]
    assert said["code"] == 1
    assert "failed while reading the weights back: refused model.safetensors" in said["err"]
    assert there.head != EMPTY
    assert there.tags == {}
    assert publisher.run("publish", folder, "--repo", repo, "--tag", "v1")["code"] == 0
    assert there.tags == {"v1": there.branches["main"]}
    assert len(there.commits) == 2
