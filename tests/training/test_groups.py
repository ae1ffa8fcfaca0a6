"""Options of the data in groups: those of older command lines and files mean the same."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from kdna_zoo.cli.app import main
from kdna_zoo.data import ImageData
from kdna_zoo.data.options import GROUP_OF, GROUPS, ColumnOptions, LoaderOptions, PreprocessOptions
from kdna_zoo.errors import UserError
from kdna_zoo.paths import recipes_folder
from kdna_zoo.training.command.groups import grouped_arguments, grouped_yaml
from kdna_zoo.training.logging.settings import settings_of

HUB = Path(__file__).parents[2] / "hub"
PUBLISHED = sorted(HUB.glob("*/recipe.yaml"))
OLD = """# of an older version
data:
  path: &place fashion_mnist
  mean: [0.5, 0.5, 0.5] # a comment
  eval_batch_size: 500
  loader:
    pin_memory: false
  crop_pct: 1e0
model:
  optimizer:
    lr: 1e-3
"""
NEW = {
    "data": {
        "path": "fashion_mnist",
        "loader": {"pin_memory": False, "eval_batch_size": 500},
        "preprocess": {"mean": [0.5, 0.5, 0.5], "crop_pct": "1e0"},
    },
    "model": {"optimizer": {"lr": "1e-3"}},
}


def config_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *arguments, "--print_config"])
    assert stopped.value.code == 0
    config: dict[str, object] = yaml.safe_load(capsys.readouterr().out)
    return config


def test_no_name_is_in_two_groups_or_an_option_beside_them() -> None:
    assert len(GROUP_OF) == sum(len(fields(kind)) for kind in GROUPS.values())
    assert not {*GROUP_OF} & {*inspect.signature(ImageData).parameters}


def test_a_file_is_regrouped_as_it_is_written() -> None:
    assert yaml.safe_load(grouped_yaml(OLD, GROUP_OF)) == NEW
    assert "lr: 1e-3" in grouped_yaml(OLD, GROUP_OF), "jsonargparse reads numbers by other rules"
    new = yaml.safe_dump(NEW)
    assert grouped_yaml(new, GROUP_OF) is new
    for text in ("", "data: null\n", "- mean\n", "data: {mean: [", "? [a]\n: b\n", "data: FILE"):
        assert grouped_yaml(text, GROUP_OF) is text


def test_a_command_line_is_regrouped() -> None:
    given = ["fit", "--data.mean=[0.5]", "--data.std", "[1]", "--data.label_names+=ox", "--data"]
    expected = ["--data.preprocess.mean=[0.5]", "--data.preprocess.std", "[1]"]
    grouped = grouped_arguments(given, GROUP_OF)
    assert grouped == ["fit", *expected, "--data.columns.label_names+=ox", "--data"]
    others = [
        "--data.batch_size=8",
        "--data.augment.interpolation=random",
        "--model.mean=1",
        "mean",
    ]
    assert grouped_arguments(others, GROUP_OF) == others


def test_old_and_new_names_give_one_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(NEW))
    old = config_of(capsys, f"-c={tmp_path / 'old.yaml'}", "--data.std=[1,1,1]")
    new = config_of(capsys, f"-c={tmp_path / 'new.yaml'}", "--data.preprocess.std=[1,1,1]")
    assert old == new
    data = new["data"]
    assert isinstance(data, dict)
    assert data["preprocess"]["crop_pct"] == 1.0
    assert data["preprocess"]["std"] == [1.0] * 3
    assert data["loader"]["eval_batch_size"] == 500


def test_a_later_file_wins_whichever_names_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.yaml").write_text("data:\n  crop_pct: 0.9\n  interpolation: bilinear\n")
    (tmp_path / "new.yaml").write_text("data:\n  preprocess:\n    crop_pct: 0.8\n")
    files = [f"-c={tmp_path / name}.yaml" for name in ("old", "new")]
    for order, crop in ((files, 0.8), (files[::-1], 0.9)):
        data = config_of(capsys, *order)["data"]
        assert isinstance(data, dict)
        assert data["preprocess"]["crop_pct"] == crop
        assert data["preprocess"]["interpolation"] == "bilinear"


@pytest.mark.parametrize("recipe", PUBLISHED, ids=lambda path: path.parent.name)
def test_recipes_of_published_weights_are_read(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = yaml.safe_load(recipe.read_text())["data"]
    assert {"mean", "eval_batch_size", "label_column"} <= {*old}, "as they were published"
    data = config_of(capsys, f"-c={recipe}")["data"]
    assert isinstance(data, dict)
    for name, value in old.items():
        assert (data[GROUP_OF[name]] if name in GROUP_OF else data)[name] == value, name


def test_no_recipe_of_ours_has_an_old_name() -> None:
    for recipe in recipes_folder().rglob("*.yaml"):
        text = recipe.read_text()
        assert grouped_yaml(text, GROUP_OF) is text, recipe


def test_settings_of_a_run_have_one_name() -> None:
    old, new = settings_of(OLD), settings_of(yaml.safe_dump(NEW))
    assert old == new
    assert old is not None
    assert old["data.mean"] == [0.5] * 3


def test_in_python_too() -> None:
    size = (3, 28, 28)
    flat = ImageData(input_size=size, crop_pct=0.5, eval_batch_size=7, label_names=[*"abcdefghij"])
    grouped = ImageData(
        input_size=size,
        preprocess=PreprocessOptions(crop_pct=0.5),
        loader=LoaderOptions(eval_batch_size=7),
        columns=ColumnOptions(label_names=[*"abcdefghij"]),
    )
    assert flat.data_config == grouped.data_config
    assert flat.data_config["crop_pct"] == 0.5
    assert flat.eval_batch_size == grouped.eval_batch_size == 7
    assert ImageData(batch_size=9).eval_batch_size == 9
    with pytest.raises(TypeError, match="ImageData has no argument 'crop_pt'"):
        ImageData(crop_pt=0.5)
    with pytest.raises(UserError, match="eval_batch_size must be at least 1, got 0"):
        ImageData(eval_batch_size=0)


def test_where_it_cannot_be_the_new_name_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.yaml").write_text("mean: [0.5, 0.5, 0.5]\nbatch_size: 8\n")
    assert main(["fit", f"--data={tmp_path / 'data.yaml'}"]) == 2
    assert "option 'data.mean'; it is data.preprocess.mean" in capsys.readouterr().err
    assert main(["fit", "--data.crop_mode=x"]) == 2
    error = capsys.readouterr().err
    assert "data.preprocess.crop_mode" in error
    assert main(["fit", "--data.preproces.mean=[1]"]) == 2
    assert "did you mean data.preprocess" in capsys.readouterr().err
