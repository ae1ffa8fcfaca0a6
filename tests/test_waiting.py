"""How the threads of a command wait, as OpenMP itself shows it, and which programs are commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kdna_zoo.waiting import SETTINGS, is_command

ROOT = Path(__file__).parent.parent
PYTHON = ("/usr/bin/python3", "-X", "dev")
GNU = pytest.mark.skipif(
    sys.platform != "linux" or "OpenMP" not in torch.__config__.parallel_info(),
    reason="shown by GNU's OpenMP",
)


def shown(*program: str, **settings: str) -> dict[str, str]:
    """Run a program, and return the settings of OpenMP in its process."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    result = subprocess.run(
        [sys.executable, *program],
        env={**clean, "OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(re.findall(r"(\w+) = '(.*)'", result.stderr))


@GNU
@pytest.mark.integration
def test_threads_of_a_command_sleep_and_stay_as_many(tmp_path: Path) -> None:
    script = tmp_path / "kdna-zoo"  # as pip writes it
    script.write_text("import sys\nfrom kdna_zoo.cli import main\nsys.exit(main())\n")
    for program in (("-m", "kdna_zoo.cli"), (str(script),)):
        settings = shown(*program, "fit", "--print_config", OMP_NUM_THREADS="3")
        assert settings["GOMP_SPINCOUNT"] == "0"
        assert settings["OMP_NUM_THREADS"] == "3"


@GNU
@pytest.mark.integration
@pytest.mark.parametrize(
    ("program", "given", "spins"),
    [
        (("-c", "import kdna_zoo"), {}, None),
        (("-m", "kdna_zoo.cli", "bench", "--help"), {}, None),
        (("-m", "kdna_zoo.cli", "info", "--help"), {"GOMP_SPINCOUNT": "77"}, "77"),
        (("-m", "kdna_zoo.cli", "info", "--help"), {"OMP_WAIT_POLICY": "active"}, None),
    ],
    ids=["another program", "bench", "count", "policy"],
)
def test_all_else_waits_as_it_did(
    program: tuple[str, ...], given: dict[str, str], spins: str | None
) -> None:
    expected = spins or shown("-c", "import torch", **given)["GOMP_SPINCOUNT"]
    assert shown(*program, **given)["GOMP_SPINCOUNT"] == expected != "0"


@pytest.mark.parametrize("program", [["/bin/kdna-zoo"], ["C:/kdna-zoo.exe"], ["bin/lightning"]])
@pytest.mark.parametrize("command", [["fit"], ["--import", "mine", "validate"], ["quickstart"], []])
def test_scripts_of_ours(program: list[str], command: list[str]) -> None:
    assert is_command([*program, *command], [*PYTHON, *program, *command])


@pytest.mark.parametrize("module", ["kdna_zoo.cli", "kdna_zoo.lightning_alias"])
def test_modules_of_ours(module: str) -> None:
    """While a module's package is imported, sys.argv begins with -m."""
    assert is_command(["-m", "fit"], [*PYTHON, "-m", module, "fit"])
    assert is_command(["-m", "fit"], [*PYTHON, f"-m{module}", "fit"])
    assert not is_command(["-m", "bench", "resnet18"], [*PYTHON, "-m", module, "bench", "resnet18"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([""], ["python"]),
        (["-c"], ["python", "-c", "import kdna_zoo"]),
        (["train.py", "kdna-zoo"], ["python", "train.py", "kdna-zoo"]),
        (["bin/pytest", "-m", "kdna_zoo.cli"], ["python", "bin/pytest", "-m", "kdna_zoo.cli"]),
        ([], ["embedded"]),
        (["changed", "by", "the", "program"], ["python", "train.py"]),
    ],
)
def test_other_programs(arguments: list[str], line: list[str]) -> None:
    assert not is_command(arguments, line)
