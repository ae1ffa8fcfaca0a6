"""Every recipe, found by walking the folder: its header, its keys, and one step of it."""

import re
from pathlib import Path

import pytest

from kdna_zoo.paths import recipes_folder
from kdna_zoo.training import command

RECIPES = sorted(p for p in recipes_folder().rglob("*.yaml") if p.parent.name != "_base")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: str(p.relative_to(recipes_folder())))
def test_header_says_how_to_run_it(recipe: Path) -> None:
    lines = recipe.read_text(encoding="utf-8").splitlines()
    header = "\n".join(line for line in lines if line.startswith("#"))
    name = recipe.relative_to(recipes_folder().parent)
    assert f"kdna-zoo fit --config {name}" in header
    batch = re.search(
        r"Effective batch: (\d+) = (\d+) images x (\d+) devices? x (\d+) accumulation", header
    )
    assert batch, "state the effective batch as a product"
    total, images, devices, accumulate = map(int, batch.groups())
    assert total == images * devices * accumulate
    assert re.search(r"^# Hardware: ", header, re.MULTILINE)
    assert re.search(r"^# Expected: .*top-1", header, re.MULTILINE)
    assert len(lines) <= 60, "a recipe says only what differs"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: str(p.relative_to(recipes_folder())))
def test_one_step_of_training_and_validation(recipe: Path, tmp_path: Path) -> None:
    run = command.run(
        [
            "fit",
            f"--config={recipe}",
            "--trainer.fast_dev_run=true",
            f"--trainer.default_root_dir={tmp_path}",
            "--data.batch_size=4",
        ]
    )
    assert run.trainer.global_step == 1
    assert "val/top1" in run.trainer.callback_metrics
