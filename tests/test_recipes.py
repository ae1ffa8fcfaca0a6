"""Every recipe, found by walking the folder: its header, and one step of each command in it."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from torch import nn

from kdna_zoo.data.sources.opening import EMBEDDED
from kdna_zoo.paths import recipes_folder
from kdna_zoo.training.command import cli as command

pytestmark = pytest.mark.integration

RECIPES = sorted(p for p in recipes_folder().rglob("*.yaml") if p.parent.name != "_base")
# One step of these takes minutes on a CPU that has no bfloat16: a tiny one of the family steps in.
IN_PLACE_OF = {"kdna_convnext_t": "test_kdna_convnext", "convnext_tiny": "test_convnext"}
EVIDENCE = [recipe for recipe in RECIPES if recipe.parent.name == "evidence"]
TINY = (
    "--trainer.fast_dev_run=true",
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.num_nodes=1",
    "--data.path=" + str(EMBEDDED),
    "--data.train_split=train",
    "--data.val_split=test",
    "--data.batch_size=2",
    "--data.loader.eval_batch_size=2",
    "--data.num_workers=0",
    "--data.columns.label_column=label",
    "--data.input_size=[3, 32, 32]",
)


def header(recipe: Path) -> str:
    lines = recipe.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("#"))


def commands(recipe: Path) -> list[str]:
    """The training commands of a header, each on one line."""
    text = re.sub(r" \\\n# *", " ", header(recipe))
    return re.findall(r"^# +kdna-zoo (fit .*)$", text, flags=re.MULTILINE)


def configuration(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a command comes to, of all its files and options."""
    with pytest.raises(SystemExit):
        command.run([*shlex.split(line), "--print_config"])
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return config


def name_of(recipe: Path) -> str:
    return str(recipe.relative_to(recipes_folder()).with_suffix(""))


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_header_says_how_to_run_it(recipe: Path) -> None:
    assert commands(recipe), "give the exact command"
    for line in commands(recipe):
        assert f"--config recipes/{name_of(recipe)}.yaml" in line
    text = header(recipe)
    if recipe.stem != "control":  # which has those of the recipe that it follows
        batch = re.search(
            r"Effective batch: ([\d,]+) = (\d+) images x (\d+) devices? x (\d+) accumulation", text
        )
        assert batch, "state the effective batch as a product"
        total, images, devices, accumulate = (int(n.replace(",", "")) for n in batch.groups())
        assert total == images * devices * accumulate
        assert re.search(r"^# Hardware: ", text, re.MULTILINE)
    assert re.search(r"^# Expected: .*top-1", text, re.MULTILINE)
    assert len(recipe.read_text(encoding="utf-8").splitlines()) <= 60, "say only what differs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the commands run: with the recipes and a published network."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "recipes").symlink_to(recipes_folder())
    network = timm.create_model("test_kdna_resnet", num_classes=10)
    timm.models.save_for_hf(network, folder / "published", safe_serialization=True)
    for name in ("dense", "converted"):  # a source, and what was converted from it
        (folder / name).symlink_to("published")
    return folder


@pytest.mark.parametrize(
    "line", [line for recipe in RECIPES for line in commands(recipe)], ids=lambda line: line[4:]
)
def test_one_step_of_training_and_validation(
    line: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    options = [*TINY, f"--trainer.default_root_dir={tmp_path}"]
    model = configuration(line, capsys)["model"]
    if tiny := IN_PLACE_OF.get(model["arch"]):
        with torch.device("meta"):  # the one it stands for takes these arguments too
            timm.create_model(model["arch"], num_classes=10, **(model["arch_args"] or {}))
        options.append(f"--model.arch={tiny}")
    run = command.run([*shlex.split(line), *options])
    assert run.trainer.global_step == 1
    assert "val/top1" in run.trainer.callback_metrics


@pytest.mark.parametrize("recipe", EVIDENCE, ids=name_of)
@pytest.mark.parametrize("ablation", ["own", "full"])
def test_images_of_the_evidence_reach_every_position_of_every_kernel(
    recipe: Path, ablation: str
) -> None:
    """On a map of one pixel all of a 3 x 3 kernel but its middle meets padding and never learns."""
    config = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    arguments = {**(config["model"].get("arch_args") or {}), "ablation": ablation}
    model = timm.create_model(config["model"]["arch"], num_classes=10, **arguments).train()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.ones_(norm.weight)  # timm starts the last one of a block at zero
    model(torch.randn(4, *config["data"]["input_size"])).square().sum().backward()
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    assert len(convs) > 10
    for conv in convs:
        assert conv.weight.grad is not None
        assert conv.weight.grad.abs().amax(dim=(0, 1)).min() > 0


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_the_batch_is_the_headers(
    recipe: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stated = re.search(r"= (\d+) images x (\d+) devices? x (\d+) acc", header(recipe))
    if stated is None:
        return  # a control has the batch of the recipe that it follows
    monkeypatch.chdir(folder)
    config = configuration(commands(recipe)[0], capsys)
    trainer = config["trainer"]
    devices = trainer["num_nodes"] * int(trainer["devices"])
    batch = config["data"]["batch_size"], devices, trainer["accumulate_grad_batches"]
    assert tuple(map(int, stated.groups())) == batch
