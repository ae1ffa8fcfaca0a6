"""``--import MODULE`` of the command line."""

import sys
from pathlib import Path

import pytest

from kdna_zoo.cli.app import main
from kdna_zoo.user_modules import split_imports

NETWORK = """
import timm
from timm.models import register_model

@register_model
def test_network_of_a_user(pretrained=False, **kwargs):
    return timm.create_model("test_resnet", pretrained=pretrained, **kwargs)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_a_module_registers_a_network(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "nets_of_a_test.py").write_text(NETWORK)
    name = "test_network_of_a_user"
    assert main(["info", name]) == 2
    assert f"timm knows no network named '{name}'" in capsys.readouterr().err
    assert main(["info", name, "--import", "nets_of_a_test"]) == 0
    assert f"{name} has no sharing plan" in capsys.readouterr().out


def test_options_are_taken_from_anywhere() -> None:
    line = ["--import", "a", "info", "x", "--import=b.c", "--json"]
    assert split_imports(line) == (["a", "b.c"], ["info", "x", "--json"])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("not_there_at_all", "cannot import not_there_at_all: No module named 'not_there_at_all'"),
        ("nets.py", "--import takes the name of a module, not 'nets.py'; give --import nets"),
        ("", "--import takes the name of a module, not ''"),
        ("broken_of_a_test", "cannot import broken_of_a_test: ZeroDivisionError: division by zero"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    module: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "broken_of_a_test.py").write_text("x = 1\n1 / 0\n")
    for command in (["models"], ["fit"]):
        assert main([*command, "--import", module]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert message in said[0]
        assert "broken" not in module or said[0].endswith("broken_of_a_test.py, line 2)")


@pytest.mark.parametrize("command", ["models", "classify", "publish"])
def test_the_help_has_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "--import MODULE" in capsys.readouterr().out
