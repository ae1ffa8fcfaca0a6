"""Ctrl-C and SIGTERM in a command that does not train, sent where it touches a file."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdna_zoo.atomic import replaced_file
from kdna_zoo.cli.app import main
from kdna_zoo.interrupts import heeding_sigterm
from tests.training.killed import arguments, run

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
AGAIN = "its files are as they were before; the same command begins again"


@pytest.fixture(autouse=True)
def _as_in_a_shell() -> Iterator[None]:
    """Lets signals do what they do outside of pytest."""
    ours = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in ours.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def struck(line: list[str], number: int, part: str) -> int:
    """Run a command line in a forked process that signals itself when it touches a path."""
    child = os.fork()
    if child == 0:
        done = False

        def hook(name: str, args: tuple[Any, ...]) -> None:
            nonlocal done
            if not done and name == "open" and part in str(args[0]):
                done = True
                os.kill(os.getpid(), number)

        sys.addaudithook(hook)
        os._exit(main(line))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert run(arguments(folder, "--trainer.max_epochs=1")) == 0
    return folder / "version_0" / "checkpoints" / "last.ckpt"


@pytest.mark.integration
@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("part", ["model.safetensors", "metrics.json", "README.md"])
def test_publishing_into_a_folder(
    part: str,
    number: signal.Signals,
    checkpoint: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    line = ["publish", str(checkpoint), "--to", str(tmp_path / "published")]
    assert struck(line, number, part) == CODES[number]
    said = capfd.readouterr().err.splitlines()
    assert said[-1].endswith(AGAIN)
    assert "Traceback" not in "".join(said)
    assert not list(tmp_path.iterdir()), "nothing is left"
    assert run(line) == 0


@pytest.mark.integration
@pytest.mark.parametrize(
    "line",
    [
        "export test_kdna_resnet --format safetensors --to {}/out.safetensors",
        "report docs/benchmarks/inference.json --to {}/out.html",
        "recipes copy quickstart --to {}",
        "bench test_kdna_resnet --rounds 1 --img-size 32 --batch-size 1 --no-memory --json {}/out",
    ],
)
@pytest.mark.parametrize("number", CODES)
def test_what_a_command_writes_is_whole_or_not_there(
    number: signal.Signals, line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = shlex.split(line.format(tmp_path))
    assert struck(command, number, "kdna-zoo-new") == CODES[number]
    said = capfd.readouterr().err.splitlines()
    assert said[-1].endswith(AGAIN)
    assert "Traceback" not in "".join(said)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.integration
def test_quickstart_names_its_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = ["quickstart", "--to", str(tmp_path)]
    assert struck(line, signal.SIGINT, "run.json") == 130
    said = capfd.readouterr().err.splitlines()
    assert said[-1] == (
        f"kdna-zoo: interrupted: what was done is in {tmp_path}; the same command begins a new run"
        " there"
    )


def test_sigterm_is_the_systems_again_afterwards() -> None:
    with heeding_sigterm(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_a_killed_process_left_goes_with_the_next_call(tmp_path: Path) -> None:
    """What a process that runs is writing stays."""
    child = os.fork()
    if child == 0:
        with replaced_file(tmp_path / "file") as fresh:
            fresh.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    left = tmp_path / f".{child}.kdna-zoo-new.file"
    assert left.read_text() == "half"
    others = [
        tmp_path / f".{child}.kdna-zoo-new.other",
        tmp_path / f".{os.getppid()}.kdna-zoo-new.file",
    ]
    for other in others:
        other.touch()
    with replaced_file(tmp_path / "file") as fresh:
        fresh.write_text("whole")
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["file", *(other.name for other in others)]
    )
