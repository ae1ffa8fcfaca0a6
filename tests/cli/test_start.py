"""Help and lists do not wait for torch; all else finds the networks registered."""

import subprocess
import sys
from contextlib import suppress

import pytest

from kdna_zoo.cli.app import main

HEAVY = ("torch", "timm", "lightning", "datasets", "numpy", "kdna_zoo.models")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a new process, which lists on stderr what it imports."""
    line = [sys.executable, "-X", "importtime", "-m", "kdna_zoo.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["models"], ["models", "kdna_resnet*"], ["recipes"]],
    ids=" ".join,
)
def test_lists_do_not_wait_for_torch(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(*arguments)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "kdna_zoo.cli.app" in imported
    assert not imported & {*HEAVY}
    with suppress(SystemExit):
        main(arguments)
    assert done.stdout == capsys.readouterr().out


def test_the_command_registers_the_networks_when_it_needs_them() -> None:
    done = run("info", "test_kdna_resnet", "--json")
    assert done.returncode == 0, done.stderr
    assert '"shared"' in done.stdout


@pytest.mark.parametrize("name", ["fuse", "models", "SharingPlan"])
def test_public_names_of_the_command_s_process(name: str) -> None:
    code = (
        f"import sys; sys.argv[:] = ['kdna-zoo']; sys.orig_argv[:] = ['kdna-zoo']\n"
        f"import kdna_zoo; assert 'torch' not in sys.modules\n"
        f"from kdna_zoo import {name}; assert 'torch' in sys.modules\n"
        "try: kdna_zoo.nothing\n"
        "except AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "module 'kdna_zoo' has no attribute 'nothing'\n", done.stderr
