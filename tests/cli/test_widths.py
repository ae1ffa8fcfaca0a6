"""Tables on terminals of any width: no name and no number is cut."""

import re
from collections.abc import Callable

import pytest

from kdna_zoo.cli import _output
from kdna_zoo.cli.app import main

WIDTHS = (40, 60, 80, 100, 140)
COMMANDS = {
    "recipes": ["recipes"],
    "models": ["models", "kdna_mobilenetv2_050"],
    "info": ["info", "test_kdna_resnet"],
    "verify": ["verify", "kdna_mobilenetv2_050.fmnist"],
    "bench": [
        *("bench", "own:test_kdna_resnet", "test_kdna_resnet", "--form", "eager,fused"),
        *("--rounds", "1", "--img-size", "32", "--batch-size", "1", "--no-memory"),
    ],
}
Terminal = Callable[[int, list[str]], str]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Run a command as on a terminal of a width, and return what it shows."""

    def show(width: int, line: list[str]) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setattr(_output, "_rich_terminal", lambda: width > 0)
        assert main(line) == 0
        return capsys.readouterr().out

    return show


def words(table: str) -> list[str]:
    """The words of a Markdown table's cells, without its titles."""
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    return [word for row in rows for word in re.split(r"[\s|]+", row.replace("`", "")) if word]


@pytest.mark.parametrize("command", ["recipes", "models", "info", "verify"])
def test_every_word_is_shown_whole(command: str, terminal: Terminal) -> None:
    wanted = words(terminal(0, COMMANDS[command]))
    assert len(wanted) > 3
    assert "…" not in wanted
    for width in WIDTHS:
        shown = terminal(width, COMMANDS[command]).split()
        found = {*shown, *(word.strip(":") for word in shown)}
        assert not [word for word in wanted if word not in found], width


@pytest.mark.integration
def test_tables_of_measurements(terminal: Terminal) -> None:
    """Names and parameters, which are the same in each run."""
    found = words(terminal(0, COMMANDS["bench"]))
    numbers = [word for word in found if re.fullmatch(r"\d+(,\d{3})+", word)]
    assert numbers
    for width in WIDTHS:
        shown = terminal(width, COMMANDS["bench"]).split()
        for word in ("own:test_kdna_resnet", "test_kdna_resnet", "eager", "fused"):
            assert word in shown, width
        assert set(numbers) <= set(shown), width


COLUMNS = ("network", "words", "figures", "more words")
ROWS = (
    ("`a_network_of_a_long_name.and_tag`", "some words that go on", "12,345,678 (-30.7%)", "[x]"),
    ("`short`", "", "1", "path/to/a/folder/of/somebody"),
)


@pytest.mark.parametrize("width", range(20, 141, 7))
def test_any_table_at_any_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(_output, "_rich_terminal", lambda: True)
    _output.print_table(COLUMNS, ROWS, ("network", "words", "more words"))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "12,345,678 (-30.7%)" in shown, "a figure stays on its line"
    for cell in (
        "a_network_of_a_long_name.and_tag",
        "short",
        "[x]",
        "path/to/a/folder/of/somebody",
    ):
        assert cell in shown
    for word in ["some", "words", "that", "go", "on"]:
        assert word in shown.split()
