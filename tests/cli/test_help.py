"""``kdna-zoo COMMAND --help`` reads as it should."""

import pytest

from kdna_zoo.cli.app import main
from kdna_zoo.cli.commands import COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_complete_and_clean(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: kdna-zoo {command}")
    assert "%%" not in text
    assert "%(" not in text
