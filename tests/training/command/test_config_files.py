"""Configuration files that cannot be read, and those that a stranger has written."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from kdna_zoo.cli.app import main
from kdna_zoo.errors import UserError
from kdna_zoo.training.command import cli as command
from kdna_zoo.training.command.config_files import TRUSTED, check_config_files
from tests.training.support import TINY, fit

HUB = Path(__file__).parents[3] / "hub"
MODULE = "stranger_of_a_test"
CODE = """
from pathlib import Path
from lightning.pytorch.callbacks import Callback
Path(__file__).with_name("mark").touch()
class Thing(Callback):
    pass
def function(*args, **kwargs):
    pass
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"trainer:\n\tmax_epochs: 1\n", "is no YAML: line 2, column 1 is a tab; YAML is indented"),
        (b"{trainer: 1\n", "is no YAML: line 2, column 1: expected ',' or '}', but got"),
        (b"trainer:\n  default_root_dir: caf\xe9\n", "is not UTF-8: its line 2 has the byte 0xe9"),
        (b"- a\n- b\n", "holds a list where a configuration has sections, such as `trainer:`"),
        (b"hello\n", "holds a str where a configuration has sections"),
        (b"", "holds nothing where a configuration has sections"),
        (
            b"trainer: [1, 2]\n",
            "`trainer:` is a section of settings, one `name: value` a line, and",
        ),
        (b"trainer:\n  max_epochs: lots\n", "trainer.max_epochs takes a whole number or null, not"),
        (b"model:\n  arch_args: 3\n", "model.arch_args takes a mapping or null, not '3'"),
        (
            b"data:\n  input_size: [3, 28]\n",
            "data.input_size takes a tuple with 3 elements or null",
        ),
    ],
)
@pytest.mark.parametrize("form", ["-c", "--config="])
def test_one_line_says_what_is_wrong(
    form: str, content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    assert main(["fit", *TINY, *([form, str(file)] if form == "-c" else [f"{form}{file}"])]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]
    assert str(file) in said[0] or "takes" in message


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module that marks its import, which Python would find."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / f"{MODULE}.py").write_text(CODE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return folder


EVIL = f"{MODULE}.Thing"
WAYS = {
    "class_path": {"trainer": {"callbacks": [{"class_path": EVIL}]}},
    "short": {"trainer": {"callbacks": [EVIL]}},
    "appended": {"trainer": {"callbacks+": [EVIL]}},
    "dotted key": {"trainer.callbacks": [EVIL]},
    "text": {"trainer": {"callbacks": f"{{class_path: {EVIL}}}"}},
    "another file": {"trainer": {"callbacks": "other.yaml"}},
    "section in another file": {"trainer": "other.yaml"},
    "argument": {
        "trainer": {
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.LambdaCallback",
                    "init_args": {"setup": f"{MODULE}.function"},
                }
            ]
        }
    },
    "function of torch": {
        "trainer": {
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.LambdaCallback",
                    "init_args": {"setup": "torch.hub.load"},
                }
            ]
        }
    },
    "logger": {"trainer": {"logger": {"class_path": EVIL}}},
    "strategy": {"trainer": {"strategy": EVIL}},
    "elsewhere": {"model": {"arch_args": {"plan": {"class_path": EVIL}}}},
}


def published(folder: Path, config: object, name: str = "recipe.yaml") -> Path:
    folder.mkdir()
    (folder / "other.yaml").write_text(yaml.safe_dump([{"class_path": EVIL}]))
    file = folder / name
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("subcommand", ["fit", "validate"])
def test_a_published_recipe_imports_no_stranger(
    subcommand: str,
    way: str,
    stranger: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = published(tmp_path / "published", WAYS[way])
    assert main([subcommand, *TINY, "-c", str(file)]) == 2
    assert f"{file} came with published weights, and its " in capsys.readouterr().err
    assert not (stranger / "mark").exists()
    assert MODULE not in sys.modules


@pytest.mark.parametrize("name", ["recipe.yaml", "train.yaml"])
@pytest.mark.parametrize(
    "place", ["", "models--org--net/snapshots/0123", ".cache/huggingface/download"]
)
def test_where_a_published_recipe_lies(
    name: str, place: str, stranger: Path, tmp_path: Path
) -> None:
    """It is called so, lies beside a network's configuration, or came from the Hub."""
    folder = tmp_path / "weights" / place
    folder.mkdir(parents=True)
    file = folder / name
    if place == ".cache/huggingface/download":
        file = tmp_path / "weights" / name
    elif not place:
        (folder / "config.json").write_text("{}")
    file.write_text(yaml.safe_dump(WAYS["short"]))
    with pytest.raises(UserError, match=f"names {EVIL}: from such a file only classes of kdna_zoo"):
        check_config_files(["fit", f"--config={file}"])
    assert not (stranger / "mark").exists()


def test_a_published_section_is_checked_too(stranger: Path, tmp_path: Path) -> None:
    file = published(tmp_path / "published", {"callbacks": [EVIL]}, "recipe.yaml")
    with pytest.raises(
        UserError, match=r"came with published weights, and its trainer\.callbacks\.0"
    ):
        check_config_files(["fit", "--trainer", str(file)])


def test_one_may_let_a_stranger_in(stranger: Path, tmp_path: Path) -> None:
    file = published(tmp_path / "published", WAYS["class_path"])
    few = ("--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1")
    run = fit(tmp_path / "runs", *few, "-c", str(file), "--import", MODULE)
    assert (stranger / "mark").exists()
    assert MODULE in [type(call).__module__ for call in run.trainer.callbacks]  # type: ignore[attr-defined]


def test_ones_own_recipe_names_any_class(stranger: Path, tmp_path: Path) -> None:
    """By design of LightningCLI."""
    file = published(tmp_path / "mine", WAYS["class_path"], "mine.yaml")
    few = ("--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1")
    assert isinstance(fit(tmp_path / "runs", *few, "-c", str(file)), command.CLI)


def test_classes_of_the_four_packages_are_taken(tmp_path: Path) -> None:
    callbacks = [
        {"class_path": "lightning.pytorch.callbacks.EarlyStopping",
         "init_args": {"monitor": "val/top1", "mode": "max"}},
        "kdna_zoo.training.callbacks.predictions.ImagesPerSecond",
        "ModelSummary",
    ]  # fmt: skip
    trainer = {"callbacks": callbacks, "default_root_dir": "runs.v1", "precision": "32-true"}
    file = published(tmp_path / "published", {"trainer": trainer})
    check_config_files(["fit", "-c", str(file)])
    assert TRUSTED == ("kdna_zoo", "lightning", "timm", "torch")


@pytest.mark.parametrize("recipe", sorted(HUB.glob("*/recipe.yaml")), ids=lambda p: p.parent.name)
def test_the_recipes_published_here_are_taken(recipe: Path, tmp_path: Path) -> None:
    check_config_files(["fit", "-c", str(recipe)])
    copied = shutil.copy(recipe, tmp_path / "recipe.yaml")
    check_config_files(["fit", "-c", str(copied)])
