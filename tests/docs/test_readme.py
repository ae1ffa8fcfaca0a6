"""What README shows works as it stands: each Python block runs, each command parses."""

from pathlib import Path

import pytest

from tests.docs.pages import README, ROOT, blocks, check_parses, commands, run_python

TEXT = README.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", blocks(README, "python"))
def test_python_blocks_run(code: str, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(published)
    run_python(code, README)


def test_commands_parse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    found = commands(README, tmp_path / "log")
    assert len(found) >= 8
    for words in found:
        check_parses(words, capsys)


def test_it_takes_five_minutes() -> None:
    assert len(TEXT.splitlines()) <= 200
    first_screen = TEXT[: TEXT.index("## ")]
    assert first_screen.count("![") == TEXT.count("![") == 1
    assert "no accuracy on ImageNet is claimed" in first_screen


def test_there_are_blocks() -> None:
    assert len(blocks(README, "python")) >= 5
