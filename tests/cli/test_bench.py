"""``kdna-zoo bench``: what it prints, writes and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from kdna_zoo.cli.app import main

SMALL = ["--batch-size", "2", "--img-size", "32", "--rounds", "2", "--threads", "1"]
NAMES = ["test_kdna_resnet", "own:test_kdna_resnet"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the figures and the picture of a run."""
    folder = tmp_path_factory.mktemp("bench")
    files = ["--json", str(folder / "figures.json"), "--plot", str(folder / "plot.png")]
    forms = ["--form", "eager,fused_channels_last", "--no-memory"]
    assert main(["bench", *NAMES, *forms, *SMALL, *files]) == 0
    return folder


@pytest.fixture(scope="module")
def figures(ran: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((ran / "figures.json").read_text())
    return data


def test_each_name_in_each_form(figures: dict[str, Any]) -> None:
    cases = [(result["network"], result["form"]) for result in figures["results"]]
    forms = ("eager", "fused_channels_last")
    assert cases == [(name, form) for name in NAMES for form in forms]


def test_the_record_of_the_run_is_complete(figures: dict[str, Any]) -> None:
    assert figures["command"].startswith("kdna-zoo bench test_kdna_resnet own:test_kdna_resnet ")
    setting = {key: figures[key] for key in ("mode", "device", "dtype", "threads", "rounds")}
    expected = {"mode": "infer", "device": "cpu", "dtype": "float32", "threads": 1, "rounds": 2}
    assert setting == expected
    assert (figures["batch_size"], figures["img_size"]) == (2, 32)
    assert figures["hardware"]
    assert figures["versions"]["torch"] == torch.__version__
    assert set(figures["versions"]) == {"kdna_zoo", "torch", "timm", "python"}
    assert figures["order"] == [[0, 1, 2, 3], [1, 2, 3, 0]], "interleaved"


def test_figures_agree_with_the_rounds(figures: dict[str, Any]) -> None:
    first = figures["results"][0]
    assert (first["time_ratio"], first["throughput_ratio"]) == (1.0, 1.0)
    for result in figures["results"]:
        a, b = result["seconds"]
        step = result["seconds_per_step"]
        assert step["median"] == pytest.approx((a + b) / 2)
        assert min(a, b) <= step["quartiles"][0] <= step["median"] <= step["quartiles"][1]
        assert result["images_per_second"] == pytest.approx(2 / step["median"])
        ratio = step["median"] / first["seconds_per_step"]["median"]
        assert result["time_ratio"] == pytest.approx(ratio)
        assert result["throughput_ratio"] == pytest.approx(1 / ratio)
        assert result["peak_memory_bytes"] is None


def test_the_picture_is_there(ran: Path) -> None:
    assert Image.open(ran / "plot.png").width > 900
    assert sorted(file.name for file in ran.iterdir()) == ["figures.json", "plot.png"]


@pytest.mark.integration
def test_a_training_step_with_its_memory_as_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    options = ["--batch-size", "16", "--img-size", "64", "--rounds", "2", "--threads", "1"]
    arguments = ["bench", "test_kdna_resnet", "--mode", "train", *options, "--json", str(file)]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"`kdna-zoo {' '.join(arguments)}`"
    assert lines[2].startswith("Random weights in test_kdna_resnet: ")
    assert lines[4].startswith("| network | form | parameters | images/s | ratio | ms a step | ")
    cells = [cell.strip() for cell in lines[6].split("|")[1:-1]]
    assert cells[:3] == ["`test_kdna_resnet`", "eager", "43,020"]
    assert cells[4] == cells[6] == cells[8] == "1.00"
    assert lines[8] == (
        "Training step, batch 16, 64 x 64, float32, cpu, 1 thread; medians (quartiles) "
        "of 2 interleaved rounds."
    )
    (result,) = json.loads(file.read_text())["results"]
    stem = 4 * 16 * (3 * 64 * 64 + 3 * 64 * 32 * 32)  # images; convolution, norm and activation
    assert stem < result["peak_memory_bytes"] < 2 * stem
    assert cells[7] == f"{result['peak_memory_bytes'] / 2**20:,.1f}"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_compiled(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    form = ["--form", "eager,compiled", "--mode", mode, "--no-memory"]
    assert main(["bench", "test_kdna_resnet", *form, *SMALL]) == 0
    assert "| `test_kdna_resnet` | compiled | 43,020 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["kdna_resnet17"], "no network named 'kdna_resnet17'; did you mean kdna_resnet1"),
        (["own:kdna_resnet17"], "no network named 'kdna_resnet17'; did you mean kdna_resnet1"),
        (["own:test_resnet"], "test_resnet shares nothing"),
        (["test_kdna_resnet", "--form", "eager,fusd"], "no form 'fusd' in eager, "),
        (["test_kdna_resnet", "--form", "fusd"], "did you mean fused"),
        (["test_kdna_resnet", "--mode", "train", "--form", "fused"], "'fused' is for inference"),
        (["test_kdna_resnet", "--rounds", "0"], "--rounds: '0' is not a whole number of 1 or more"),
        (
            ["test_kdna_resnet", "--divice", "cpu"],
            "does not know '--divice'; did you mean --device",
        ),
        (["test_kdna_resnet", "--device", "tpu"], "invalid choice: 'tpu' (choose from "),
        (["test_kdna_resnet", "--plot", "plot.xyz"], "'plot.xyz' does not end in one of .png, "),
        (["test_kdna_resnet", "--json", "absent/figures.json"], "there is no folder absent"),
        (
            ["test_kdna_resnet", "--json", "a.png", "--plot", "a.png"],
            "--json and --plot both name a.png; give each a file of its own",
        ),
        (["test_kdna_resnet", "--json", "."], ". is a folder; give the path of a file"),
        (
            ["deit_tiny_patch16_224", "--img-size", "32"],
            "_224 eager does not run: Input height (32) doesn",
        ),
        ([], "give the names of networks, or --data"),
    ],
)
def test_mistakes(
    arguments: list[str],
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    figures = [] if "--json" in arguments else ["--json", "figures.json"]
    small = ["--batch-size", "2", "--no-memory", *figures]
    assert main(["bench", *arguments, *small]) == 2
    printed = capsys.readouterr()
    assert error in printed.err
    assert printed.err.startswith("kdna-zoo: ")
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "test_kdna_resnet", "--device", "cuda"]) == 2
    error = capsys.readouterr().err
    assert error == "kdna-zoo: torch finds no CUDA device on this machine; use --device cpu\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a device that does not answer")
def test_a_device_that_does_not_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as of one that is busy
    assert main(["bench", "test_kdna_resnet", *SMALL, "--device", "cuda"]) == 2
    error = capsys.readouterr().err
    assert "kdna-zoo: test_kdna_resnet eager does not run: " in error
    assert "Traceback" not in error


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_on_a_gpu(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    options = ["--device", "cuda", "--mode", mode, "--json", str(file)]
    assert main(["bench", *NAMES, *options, *SMALL]) == 0
    for result in json.loads(file.read_text())["results"]:
        copies = 3 if mode == "train" else 1  # weights; gradients and momentum
        assert copies * 4 * result["parameters"] < result["peak_memory_bytes"] < 2**28
