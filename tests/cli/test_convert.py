"""``kdna-zoo convert``."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.models import save_for_hf

from kdna_zoo.cli.app import main
from kdna_zoo.conversion import grow
from kdna_zoo.release.folder import FILES
from kdna_zoo.release.manifest import describe_folder
from kdna_zoo.sharing import Share, SharingPlan
from tests.conversion.support import trained_like

FEW = ("--images", "embedded", "--count", "32", "--evaluate-count", "20", "--batch-size", "8")
SMALL = {"layers": (1, 1, 2, 2), "stem_width": 8, "channels": (8, 8, 16, 16), "in_chans": 1}
NAME = "mobilenetv2_035"
PLAN = SharingPlan((Share("layer4.0.conv2", "layer4.1.conv2"),))


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A small network with ten classes, as others would have published it."""
    model: Any = trained_like("resnet18", num_classes=10, **SMALL)
    own = {"mean": (0.286,), "std": (0.353,), "input_size": (1, 32, 32), "crop_pct": 1.0}
    config = {**model.pretrained_cfg, **own, "license": "cc-by-nc-4.0", "tag": "theirs"}
    save_for_hf(model, "dense", {"pretrained_cfg": config}, safe_serialization=True)
    Path("plan.json").write_text(json.dumps(PLAN.to_dict()))
    return "local-dir:dense"


def run(*arguments: str) -> int:
    return main(["convert", *arguments])


def test_a_release_folder_that_timm_loads(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--plan", "plan.json", *FEW, "--refine", "2", "--json", "report.json")
    assert run(source, *options, "--out", "converted") == 0
    out = capsys.readouterr().out
    assert "local-dir:dense: 21,498 parameters -> any_kdna: " in out or "-> any_kdna: " in out
    assert "| refine |" in out
    assert "timm.create_model('local-dir:converted', pretrained=True)" in out
    folder = Path("converted")
    assert {p.name for p in folder.iterdir()} == set(FILES) - {"recipe.yaml"}
    model: Any = timm.create_model("local-dir:converted", pretrained=True).eval()
    assert model.sharing_plan == PLAN
    assert model(torch.zeros(1, 1, 32, 32)).isfinite().all()
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["conversion"]["source"]["name"] == "local-dir:dense"
    assert figures["metrics"]["images"] == 20
    steps = {step["name"]: step for step in figures["conversion"]["steps"]}
    assert steps["refine"]["top1"] is None or 0 <= steps["refine"]["top1"] <= 1
    assert steps["norms"]["top1"] is not None
    card = (folder / "README.md").read_text()
    sha256 = figures["conversion"]["source"]["sha256"]
    assert f"| Converted from | local-dir:dense, sha256 of the weights `{sha256}` |" in card
    assert "license: cc-by-nc-4.0" in card
    assert "whose licence they take over" in (folder / "LICENSE").read_text()
    assert Image.open(folder / "conversion.png").size > (300, 200)
    described = describe_folder(folder)
    assert described.license == "cc-by-nc-4.0"
    assert described.arch_args["base"] == "resnet18"
    report = json.loads(Path("report.json").read_text())
    assert report["format"] == "kdna-zoo convert"
    assert report["command"].startswith("kdna-zoo convert local-dir:dense --plan plan.json")
    assert main(["report", "report.json", "--to", "page.html"]) == 0
    assert "Conversion: local-dir:dense to any_kdna" in Path("page.html").read_text()


def test_it_publishes_like_any_other(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(source, "--plan", "plan.json", "--out", "any_kdna.small") == 0
    assert main(["publish", "any_kdna.small", "--to", "again"]) == 0
    before, after = (Path(f, "model.safetensors").read_bytes() for f in ("any_kdna.small", "again"))
    assert before == after
    assert "## Conversion" in Path("again/README.md").read_text()
    assert "there were no calibration images" in Path("again/README.md").read_text()


def test_a_budget_and_a_converted_source(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(source, "--saving", "0.1", "--out", "converted") == 0
    capsys.readouterr()
    assert run("local-dir:converted", "--saving", "0.1", "--out", "twice") == 2
    assert "this network shares kernels already" in capsys.readouterr().err
    assert run(source, "--saving", "0.9", "--out", "more") == 2
    assert "a saving of 90.0% cannot be met: the most that these" in capsys.readouterr().err
    assert not Path("more").exists()


def test_a_deeper_target(capsys: pytest.CaptureFixture[str]) -> None:
    model = trained_like("resnet18", num_classes=10, channels=(8, 8, 16, 16), stem_width=8)
    save_for_hf(model, "dense", safe_serialization=True)
    assert run("local-dir:dense", "--to", "kdna_resnet18", "--out", "grown", "--no-match") == 0
    assert "New blocks, the identity: layer3.1, layer4.1" in capsys.readouterr().out
    made: Any = timm.create_model("local-dir:grown", pretrained=True)
    assert made.pretrained_cfg["architecture"] == "kdna_resnet18"
    assert made.sharing_plan == grow(model, "kdna_resnet18")[1]


def test_checkpoints(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = timm.create_model(NAME, num_classes=4)
    torch.save({"arch": NAME, "state_dict": model.state_dict(), "epoch": 3}, "timm.pth.tar")
    lightning = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": lightning}, "lightning.ckpt")
    assert run("timm.pth.tar", "--plan", "auto", "--out", "one", "--license", "mit") == 0
    assert run("lightning.ckpt", "--plan", "auto", "--out", "two") == 2
    assert "does not say which network its weights are of" in capsys.readouterr().err
    given = ("--arch", NAME, "--license", "mit")
    assert run("lightning.ckpt", *given, "--plan", "auto", "--out", "two") == 0
    one, two = (Path(f, "model.safetensors").read_bytes() for f in ("one", "two"))
    assert one == two
    assert run("lightning.ckpt", "--arch", "test_vit", "--plan", "auto", "--out", "three") == 2
    assert "the weights in lightning.ckpt are not those of test_vit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("resnet19", "--plan", "auto"), "timm knows no network named 'resnet19'"),
        (("missing.ckpt", "--plan", "auto"), "there is no file missing.ckpt"),
        (("local-dir:dense", "--plan", "none.json"), "cannot read the plan none.json"),
        (("local-dir:dense", "--plan", "bad.json"), "bad.json holds no sharing plan"),
        (("local-dir:dense", "--saving", "2"), "--saving takes a part between 0 and 1"),
        (("local-dir:dense",), "one of the arguments --to --plan --saving is required"),
        (("local-dir:dense", "--plan", "plan.json", "--split", "train"), "--split needs images"),
        (("local-dir:dense", "--to", "kdna_resnet50"), "kdna_resnet50 is made from resnet50"),
        (
            ("local-dir:dense", "--plan", "plan.json", "--arch", "resnet18"),
            "--arch is for the file",
        ),
    ],
)
def test_mistakes(
    source: str, arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.json").write_text("[1, 2]")
    assert run(*arguments, "--out", "converted") == 2
    assert text in capsys.readouterr().err
    assert not Path("converted").exists()


def test_images_without_labels_are_no_measure(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        place = Path("pictures") / split
        place.mkdir(parents=True)
        for i in range(9):
            Image.new("L", (32, 32), 20 * i).save(place / f"{i}.png")
    options = (source, "--plan", "plan.json", "--images", "pictures", "--refine", "0")
    assert run(*options, "--evaluate-split", "test", "--out", "one") == 2
    assert "accuracy needs a class for each image" in capsys.readouterr().err
    assert run(*options, "--evaluate-split", "none", "--out", "one") == 0


def test_nothing_is_half_written(
    source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kdna_zoo.conversion import steps

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "fit_together", interrupted)
    assert run(source, "--plan", "plan.json", "--out", "converted", "--json", "r.json") == 130
    assert sorted(p.name for p in Path().iterdir()) == ["dense", "plan.json"]
    Path("converted").mkdir()
    Path("converted/mine.txt").write_text("mine")
    assert run(source, "--plan", "plan.json", "--out", "converted") == 2
    assert "converted is not empty: it holds mine.txt" in capsys.readouterr().err
    shutil.rmtree("converted")
