"""The ``lightning`` command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kdna_zoo import cli, lightning_alias

ROOT = Path(__file__).parent.parent


@pytest.mark.integration
def test_fit_is_that_of_kdna_zoo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its console script runs it: in a process of its own, outside the checkout."""
    options = ["fit", "--model.arch", "test_kdna_resnet", "--trainer.max_epochs=7"]
    options.append("--print_config")
    output = subprocess.run(
        [sys.executable, "-m", "kdna_zoo.lightning_alias", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert output.returncode == 0, output.stderr
    config = yaml.safe_load(output.stdout)
    assert config["trainer"]["max_epochs"] == 7
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(options)
    assert yaml.safe_load(capsys.readouterr().out) == config


@pytest.mark.parametrize("arguments", [["login"], [], ["--help"]])
def test_other_commands_without_lightning_sdk(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lightning_alias.main(arguments) == 2
    error = capsys.readouterr().err
    assert f"{' '.join(['lightning', *arguments])}: here, lightning fit | validate | " in error
    assert "pip install lightning-sdk" in error


def test_other_commands_go_to_lightning_sdk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the distribution: what matters is that its entry point is called."""
    (tmp_path / "stand_in_sdk.py").write_text(
        "import sys\ndef main():\n    print('the SDK got', sys.argv[1:])\n    return 3\n"
    )
    info = tmp_path / "lightning_sdk-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lightning-sdk\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nlightning = stand_in_sdk:main\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["lightning"])
    assert lightning_alias.main(["run", "--help"]) == 3
    assert capsys.readouterr().out == "the SDK got ['run', '--help']\n"


def test_both_names_are_installed() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'lightning = "kdna_zoo.lightning_alias:main"' in text
    assert 'kdna-zoo = "kdna_zoo.cli:main"' in text
