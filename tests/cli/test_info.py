"""``kdna-zoo info``."""

import json
from pathlib import Path

import pytest
import timm
from timm.models import save_for_hf

from kdna_zoo.cli.app import main
from kdna_zoo.sharing import SharingPlan, auto_plan, share_kernels


def test_plan_and_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "kdna_resnet18"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "`kdna_resnet18` on timm's `resnet18`: 6 children of 4 parents, "
        "batch norm in the channel attention\n"
    )
    assert (
        "- `layer3`\n"
        "  - `layer3.1.conv2`: 3x3, 256 to 256, 589,824 parameters\n"
        "    - `layer3.0.conv2` (r = 4)\n"
        "    - `layer3.1.conv1` (r = 4)\n"
        "  - `layer3.2.conv2`: 3x3, 256 to 256, 589,824 parameters\n"
    ) in out
    assert "| `layer3` | 1,611,163 | 1,510,912 | 100,251 | 1,769,472 | 642.4 M |" in out
    assert "| total | 9,240,798 | 8,743,464 | 497,334 | 8,847,360 | 2.277 G |" in out
    assert "one image of 3 x 224 x 224" in out
    assert "Sharing saves 47.5% of the 17,590,824 parameters" in out


@pytest.mark.parametrize("name", timm.list_models("test_kdna_*"))
def test_json_is_the_networks(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = timm.create_model(name)
    assert main(["info", name, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    count = sum(p.numel() for p in model.parameters())
    assert data["parameters"]["total"] == count
    assert data["parameters"]["own"] + data["parameters"]["adapter"] == count
    for key in ("parameters", "own", "adapter", "shared", "macs"):
        whole = data["macs"] if key == "macs" else data["parameters"].get(key, count)
        assert sum(stage[key] for stage in data["stages"]) == whole
    assert SharingPlan.from_dict(data["plan"]) == model.sharing_plan
    assert data["base"] == model.base_arch


def test_a_network_without_a_plan_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "test_vit"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("test_vit has no sharing plan: each layer has a kernel of its own.\n")
    assert "| outside of all |" in out, "the position embedding"
    assert "Sharing" not in out
    assert main(["info", "test_vit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"] is None


def test_the_plan_that_another_network_could_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "regnetx_002", "--auto-plan"]) == 0
    out = capsys.readouterr().out
    assert "s4.b2.conv1.conv" in out
    assert "Sharing saves " in out
    assert main(["info", "regnetx_002", "--auto-plan", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    model = timm.create_model("regnetx_002")
    plan = auto_plan(model)
    share_kernels(model, plan)
    assert SharingPlan.from_dict(data["plan"]) == plan
    assert data["parameters"]["total"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("control", "heading", "child"),
    [
        ("own", "4 children, own kernels, no adapter", "  - `layer3.0.conv2`"),
        (
            "own_channel",
            "4 children, own kernels, channel attention only, batch norm in the channel attention",
            "  - `layer3.0.conv2` (r = 4)",
        ),
        (
            "shared_static",
            "4 children of 2 parents, static modulation only",
            "    - `layer3.0.conv2`",
        ),
        (
            "parents_first",
            "4 children of 2 parents, batch norm in the channel attention",
            "    - `layer3.1.conv2` (r = 4)",
        ),
    ],
)
def test_a_control_of_the_ablation(
    control: str, heading: str, child: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", "test_kdna_resnet", "--ablation", control]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"`test_kdna_resnet` on timm's `resnet18`: {heading}"
    assert child in lines
    assert any(line.startswith("Sharing saves ") for line in lines) is ("own" not in control)
    model = timm.create_model("test_kdna_resnet", ablation=control)
    assert main(["info", "test_kdna_resnet", "--ablation", control, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert SharingPlan.from_dict(data["plan"]) == model.sharing_plan
    assert data["parameters"]["total"] == sum(p.numel() for p in model.parameters())


def test_a_control_of_a_plan_that_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "regnetx_002", "--auto-plan", "--ablation", "shared"]) == 0
    assert "9 children of 9 parents, no adapter\n" in capsys.readouterr().out


def test_a_published_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = timm.create_model("test_kdna_resnet", num_classes=7)
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    assert main(["info", f"local-dir:{tmp_path}", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["parameters"]["total"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["info", "kdna_resnet1"], "no network named 'kdna_resnet1'; did you mean kdna_resnet1"),
        (["info", "zzz"], "no network named 'zzz'; timm.list_models() lists them all"),
        (["info", "local-dir:nowhere"], "there is no folder nowhere; local-dir: takes a"),
        (
            ["info", "resnet18", "--jsn"],
            "`kdna-zoo info` does not know '--jsn'; did you mean --json",
        ),
        (["info"], "required: NAME; see `kdna-zoo info --help`"),
        (
            ["info", "kdna_resnet18", "--ablation", "d"],
            "invalid choice: 'd' (choose from 'own', 'own_channel', 'shared', ",
        ),
        (
            ["info", "resnet18", "--ablation", "own"],
            "resnet18 has no sharing plan, so there is nothing to ablate; leave --ablation away",
        ),
        (["info", "kdna_resnet18", "--auto-plan"], "kdna_resnet18 has a sharing plan of its own"),
        (["infos"], "there is no command 'infos'; did you mean info?"),
        (["train"], "there is no command 'train'; did you mean fit?"),
        (["zzz"], "there is no command 'zzz'; there are fit, validate, test, predict, quickstart"),
        (
            ["info", "resnet18", "--json", "--markdown"],
            "--markdown: not allowed with argument --json",
        ),
    ],
)
def test_mistakes(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert error in printed.err
    assert printed.err.startswith("kdna-zoo: ")
    assert printed.err.count("\n") == 1
    assert not printed.out
