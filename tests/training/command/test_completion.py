"""Completion in the shell, by jsonargparse and shtab."""

import pytest

from kdna_zoo.cli.app import main


@pytest.mark.integration
def test_script_for_bash(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as stop:
        main(["--print_completion=shtab-bash"])
    assert stop.value.code == 0
    script = capsys.readouterr().out
    assert "--model.optimizer.lr" in script
    assert "-F _shtab_kdna_zoo kdna-zoo" in script
