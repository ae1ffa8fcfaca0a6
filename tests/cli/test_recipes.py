"""``kdna-zoo recipes``."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from kdna_zoo.cli.app import main
from kdna_zoo.paths import recipes_folder

NAME = "kdna_mobilenetv2/fmnist"


def test_every_recipe_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    _, _, *rows = capsys.readouterr().out.splitlines()
    files = [p for p in recipes_folder().rglob("*.yaml") if p.parent.name != "_base"]
    names = sorted(p.relative_to(recipes_folder()).with_suffix("").as_posix() for p in files)
    assert sorted(row.split(" | ")[0].strip("| ") for row in rows) == names
    assert all(len(row.split(" | ")) == 4 for row in rows)


def test_json_has_the_whole_header(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--json"]) == 0
    recipes = {recipe["name"]: recipe for recipe in json.loads(capsys.readouterr().out)}
    recipe = recipes[NAME]
    assert recipe["title"].startswith("KernelDNA MobileNetV2 1.0x on all of Fashion-MNIST")
    assert recipe["batch"] == "128 = 128 images x 1 device x 1 accumulation"
    assert recipe["files"] == ["_base/fmnist.yaml", f"{NAME}.yaml"]
    assert "top-1" in recipe["expected"]


@pytest.mark.integration
def test_a_copy_runs_by_the_printed_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recipes", "copy", NAME]) == 0
    *_, line = capsys.readouterr().out.splitlines()
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.yaml"))
    assert written == ["recipes/_base/fmnist.yaml", f"recipes/{NAME}.yaml"]
    (tmp_path / f"recipes/{NAME}.yaml").write_text("model: {arch: test_kdna_mobilenetv2}\n")
    with pytest.raises(SystemExit) as stop:
        main([*shlex.split(line)[1:], "--print_config"])
    assert stop.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["arch"] == "test_kdna_mobilenetv2", "the copy is what runs"
    assert config["model"]["label_smoothing"] == 0.1, "and so is its base"


def test_a_recipe_of_your_own_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = ["--to", str(tmp_path)]
    assert main(["recipes", "copy", NAME, *to]) == 0
    assert main(["recipes", "copy", NAME, *to]) == 0, "equal files are no conflict"
    changed = tmp_path / "recipes" / f"{NAME}.yaml"
    changed.write_text("model: {arch: mine}\n")
    (tmp_path / "recipes/_base/fmnist.yaml").unlink()
    assert main(["recipes", "copy", NAME, *to]) == 2
    assert "is there and differs from the one to copy" in capsys.readouterr().err
    assert changed.read_text() == "model: {arch: mine}\n"
    assert not (tmp_path / "recipes/_base/fmnist.yaml").exists(), "all or nothing"


def test_unknown_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "copy", "kdna_mobilenet/fmnist.yaml"]) == 2
    error = capsys.readouterr().err
    assert "there is no recipe 'kdna_mobilenet/fmnist.yaml'; did you mean kdna_mob" in error


def test_target_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["recipes", "copy", NAME, "--to", str(tmp_path / "file")]) == 2
    assert "cannot write into" in capsys.readouterr().err
