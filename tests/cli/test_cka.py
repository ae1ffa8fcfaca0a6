"""``kdna-zoo cka``."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.models import save_for_hf

from kdna_zoo.analysis.cka.cka import read_cka
from kdna_zoo.cli.app import main
from kdna_zoo.sharing import SharingPlan, share_kernels

FEW = ("--images", "24", "--batch-size", "8")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Any:
    assert main(["cka", *arguments]) == 0
    return json.loads(Path("cka.json").read_text())


def test_one_network(capsys: pytest.CaptureFixture[str]) -> None:
    data = run("test_kdna_resnet", *FEW, "--seed", "3")
    assert data["command"] == "kdna-zoo cka test_kdna_resnet --images 24 --batch-size 8 --seed 3"
    assert data["networks"] == ["test_kdna_resnet"] * 2
    assert (data["images"], data["batch_size"], data["seed"]) == (24, 8, 3)
    assert data["weights"] == ["random", "random"]
    assert data["versions"]["torch"] == str(torch.__version__)
    assert data["hardware"]
    assert data["plan"] is None
    assert data["about"] == (
        "24 images of split 'test' of the embedded Fashion-MNIST sample, 3 x 64 x 64\n"
        "batches of 8, random weights, seed 3"
    )
    cka = read_cka(Path("cka.json"))
    assert cka.is_of_one
    assert len(cka.rows) == 17
    mean = (float(cka.matrix.sum()) - 17) / (17 * 16)
    out = capsys.readouterr().out
    assert out.startswith("test_kdna_resnet: 17 layers\n24 images of split 'test' of the embedded")
    assert f"Mean CKA between different layers: {mean:.3f}\n" in out
    assert out.endswith("Wrote cka.png and cka.json.\n")
    assert Image.open("cka.png").size > (300, 300)


def test_the_same_seed_gives_the_same_and_another_gives_others() -> None:
    one, two = (run("test_kdna_resnet", *FEW, "--seed", seed)["matrix"] for seed in "11")
    assert one == two
    assert run("test_kdna_resnet", *FEW, "--seed", "2")["matrix"] != one


def test_against_another(capsys: pytest.CaptureFixture[str]) -> None:
    layers = ("--layers", "layer3.*", "conv1*")
    data = run("test_resnet", "--against", "test_kdna_resnet", *layers, *FEW)
    assert data["networks"] == ["test_resnet", "test_kdna_resnet"]
    assert data["rows"][0] == "conv1.0"
    assert data["columns"][0] == "conv1"
    assert {name.split(".")[0] for name in data["rows"] + data["columns"]} == {"conv1", "layer3"}
    printed = capsys.readouterr()
    assert "test_resnet, " in printed.out
    assert "layers, against test_kdna_resnet, " in printed.out
    assert (
        "kdna-zoo: both networks see images as test_resnet wants them; test_kdna_resnet has "
        "another input_size, " in printed.err
    )


def test_published_networks_have_their_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(5)
    model = timm.create_model("test_kdna_resnet", num_classes=7)
    save_for_hf(model, str(tmp_path / "net"), safe_serialization=True)
    data = run(f"local-dir:{tmp_path}/net", "--against", "test_kdna_resnet", *FEW)
    assert data["weights"] == ["pretrained", "random"]
    assert "random weights of test_kdna_resnet" in data["about"]
    assert "has another" not in capsys.readouterr().err, "a list of means is that tuple of means"
    first = run(f"local-dir:{tmp_path}/net", *FEW)
    assert run(f"local-dir:{tmp_path}/net", *FEW, "--out", "cka.svg")["matrix"] == first["matrix"]
    assert first["matrix"] != run("test_kdna_resnet", *FEW)["matrix"]


def test_images_of_ones_own_without_labels() -> None:
    Path("images").mkdir()
    pixels = torch.Generator().manual_seed(0)
    for i in range(6):
        noise = torch.randint(0, 256, (20, 30, 3), generator=pixels, dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(f"images/{i}.png")
    data = run("test_kdna_resnet", "--data", "images")
    assert data["images"] == 6, "all there are"
    assert "6 images of split 'train' of data set 'images'" in data["about"]


def test_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    data = run("test_resnet", *FEW, "--suggest", "0.03", "--across-roles")
    plan = SharingPlan.from_dict(data["plan"])
    out = capsys.readouterr().out
    assert [line.split("`")[1] for line in out.splitlines() if "`" in line] == [
        share.child for share in plan
    ]
    model = timm.create_model("test_resnet")
    before = sum(p.numel() for p in model.parameters())
    after = sum(p.numel() for p in share_kernels(model, plan).parameters())
    assert 1 - after / before >= 0.03
    assert f"Saves {1 - after / before:.1%} of {before:,} parameters, adapters counted." in out
    option, written = out.splitlines()[-1].split(" ", 1)
    assert option == "--model.arch_args.plan"
    (written,) = shlex.split(written)
    assert SharingPlan.from_dict(json.loads(written)) == plan


def test_what_cannot_be_suggested_is_said_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kdna_zoo.cli.cka.measure_cka", None)
    assert main(["cka", "test_resnet", "--suggest", "0.9", "--across-roles"]) == 2
    assert (
        "the most that these layers can save is 3.49% (16,415 of 469,688 parameters)"
        in capsys.readouterr().err
    )
    assert main(["cka", "test_kdna_resnet", "--suggest", "0.1"]) == 2
    assert "has a sharing plan already" in capsys.readouterr().err


def test_from_an_earlier_run(capsys: pytest.CaptureFixture[str]) -> None:
    data = run("test_resnet", *FEW)
    before = Path("cka.json").read_bytes()
    capsys.readouterr()
    options = ("--suggest", "0.03", "--across-roles", "--out", "again.png")
    assert main(["cka", "test_resnet", "--from", "cka.json", *options]) == 0
    out = capsys.readouterr().out
    assert "Wrote again.png.\n" in out
    assert re.search(r"Saves \d+\.\d% of ", out)
    assert Path("cka.json").read_bytes() == before
    assert not Path("again.json").exists()
    assert data["about"].splitlines()[0] in out
    assert main(["cka", "resnet18", "--from", "cka.json"]) == 2
    assert "cka.json is the CKA of test_resnet, not of resnet18" in capsys.readouterr().err
    Path("cka.json").write_text(json.dumps({**data, "version": 7}))
    assert main(["cka", "test_resnet", "--from", "cka.json"]) == 2
    assert "is of version 7, and this kdna-zoo reads version 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["resnet1"], "timm knows no network named 'resnet1'; did you mean resnet"),
        (["test_resnet", "--layers", "layer9"], "no layer 'layer9' in ResNet; did you mean"),
        (["test_resnet", "--images", "1"], "needs 4 or more in a batch; the largest batch had 1"),
        (["test_resnet", "--batch-size", "2", "--images", "4"], "the largest batch had 2"),
        (["test_resnet", "--images", "0"], "'0' is not a whole number of 1 or more"),
        (["test_resnet", *FEW, "--suggest", "0.9"], "the most that these layers can save is "),
        (["test_resnet", "--suggest", "20"], "a part between 0 and 1, such as 0.2; got 20"),
        (["test_kdna_resnet", *FEW, "--suggest", "0.1"], "has a sharing plan already"),
        (["a", "--against", "b", "--suggest", "0.1"], "leave --against away"),
        (["test_resnet", "--split", "tests"], "There is no split 'tests' in the embedded Fash"),
        (["test_resnet", "--data", "no/where/at/all"], "There is no file or folder 'no/where/at"),
        (["test_resnet", "--out", "cka.json"], "does not end in one of .png, .svg, .pdf"),
        (["test_resnet", "--out", "no/cka.png"], "there is no folder no; make it first"),
        (["test_resnet", "--from", "no.json"], "cannot read no.json: No such file"),
        (["test_resnet", "--workers", "-1"], "--workers must be 0 or more, got -1"),
        (
            ["test_resnet", "--against", "test_vit", *FEW, "--layers", "conv1*"],
            "no convolution fits 'conv1*' in VisionTransformer",
        ),
    ],
)
def test_mistakes(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cka", *arguments]) == 2
    printed = capsys.readouterr()
    assert error in printed.err
    assert not printed.out
    assert not [file for file in Path().iterdir() if file.name.startswith(("cka", "."))]


def test_no_cuda(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["cka", "test_resnet", "--device", "cuda"]) == 2
    assert "torch finds no CUDA device here" in capsys.readouterr().err
