"""A name that stands for weights means them in every command; random ones are said first."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf

from kdna_zoo.analysis.bench.cases import build_network
from kdna_zoo.cli.app import main
from kdna_zoo.errors import KdnaZooError
from kdna_zoo.names import stands_for_weights
from kdna_zoo.training.classification import ImageClassifier
from kdna_zoo.training.objective import Distillation, DistillationConfig

QUICK = ["--rounds", "1", "--batch-size", "2", "--img-size", "32", "--no-memory"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights."""
    folder = tmp_path_factory.mktemp("weights") / "published"
    save_for_hf(
        timm.create_model("test_kdna_resnet", num_classes=10), str(folder), safe_serialization=True
    )
    return folder


@pytest.fixture
def emptied(published: Path, tmp_path: Path) -> str:
    """The name of a folder whose weights are gone: whoever reads them has to say so."""
    folder = shutil.copytree(published, tmp_path / "emptied")
    (folder / "model.safetensors").unlink()
    return f"local-dir:{folder}"


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("kdna_resnet18", False),
        ("kdna_resnet18.fmnist", True),
        ("resnet18.a1_in1k", True),
        ("local-dir:./a.b", True),
        ("hf-hub:org/kdna_resnet18", True),
        ("hf_hub:org/kdna_resnet18@v1", True),
    ],
)
def test_what_a_name_stands_for(name: str, weights: bool) -> None:
    assert stands_for_weights(name) is weights


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "NAME", "--format", "safetensors", "--to", "out"],
        ["bench", "NAME", *QUICK],
        ["bench", "test_kdna_resnet", "NAME", *QUICK],
        ["cka", "NAME", "--images", "4", "--batch-size", "4"],
        ["cka", "test_kdna_resnet", "--against", "NAME", "--images", "4", "--batch-size", "4"],
        ["classify", "picture.png", "--model", "NAME"],
    ],
    ids=" ".join,
)
def test_every_command_reads_the_weights(
    arguments: list[str],
    emptied: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.png").touch()
    assert main([emptied if word == "NAME" else word for word in arguments]) != 0
    assert f"there is no {emptied.partition(':')[2]}/model.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    "build",
    [
        lambda name: ImageClassifier(name),
        lambda name: Distillation(
            DistillationConfig(name), 10, None, [0.5] * 3, [0.5] * 3, torch.device("cpu")
        ),
    ],
    ids=["model.arch", "model.distillation.teacher"],
)
def test_so_does_training(build: Callable[[str], object], emptied: str) -> None:
    with pytest.raises(KdnaZooError, match=r"there is no .*model\.safetensors"):
        build(emptied)


def test_the_weights_are_those_of_the_folder(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, file = f"local-dir:{published}", tmp_path / "a.safetensors"
    state = load_file(published / "model.safetensors")
    assert main(["export", name, "--format", "safetensors", "--to", str(file)]) == 0
    assert "RANDOM" not in "".join(capsys.readouterr())
    trained = ImageClassifier(name)
    assert trained.pretrained, "so that its head is checked against the data's classes"
    for found in (load_file(file), trained.model.state_dict(), build_network(name).state_dict()):
        assert set(found) == set(state)
        assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "test_kdna_resnet", "--format", "safetensors"],
        ["cka", "test_kdna_resnet", "--images", "4", "--batch-size", "4"],
    ],
    ids=" ".join,
)
def test_random_weights_are_said_first(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 0
    assert capsys.readouterr().err.startswith("kdna-zoo: RANDOM WEIGHTS in test_kdna_resnet, the")


def test_a_bench_says_which_weights_are_random(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"local-dir:{published}", "test_kdna_resnet", "own:test_kdna_resnet"]
    assert main(["bench", *names, *QUICK]) == 0
    _, _, line = capsys.readouterr().out.splitlines()[:3]
    assert line.startswith("Random weights in test_kdna_resnet, own:test_kdna_resnet: ")


def test_a_folder_without_its_prefix(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(published)]) == 2
    error = f"{published} is a folder; for the weights in it write local-dir:{published}"
    assert error in capsys.readouterr().err
