"""The script of a GPU session goes on where it ended, within its time; here without a GPU."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

SCRIPT = ROOT / "docs" / "benchmarks" / "gpu_session.sh"
STEPS = 18
PYTHON = """#!/bin/sh
# Stands for Python: finds a GPU or not, and writes the JSON file that it is told to.
case "$1" in -c) exit ${NO_GPU:-0};; esac
case "$*" in *pytest*) exit ${WRONG:-0};; esac
echo "KERNELS=$KDNA_ZOO_KERNELS $*" >> "$CALLS"
for last; do :; done
case "$last" in $BREAKS) echo "no such network"; exit 2;; $HANGS) exec sleep 60;; esac
echo "{}" > "$last"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    stand_in = tmp_path / "python"
    stand_in.write_text(PYTHON)
    stand_in.chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    names = {"PYTHON": str(stand_in), "CALLS": str(calls), "BREAKS": "", "HANGS": ""}
    return {**os.environ, **names}


def session(folder: Path, env: dict[str, str], seconds: int = 600) -> tuple[int, str, list[str]]:
    """Run it: the exit code, all it prints, and the calls so far."""
    command = ["bash", str(SCRIPT), str(folder), str(seconds)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    return run.returncode, run.stdout + run.stderr, Path(env["CALLS"]).read_text().splitlines()


def test_every_step_is_taken_once(tmp_path: Path, environment: dict[str, str]) -> None:
    for _ in range(2):
        code, text, calls = session(tmp_path / "out", environment)
        assert code == 0, text
        assert len(calls) == STEPS
    files = {path.stem for path in (tmp_path / "out").glob("*.json")}
    assert len(files) == STEPS
    plain = [call for call in calls if call.startswith("KERNELS=0")]
    assert [call.split()[-1] for call in plain] == [
        "gpu_zoo_train_plain.json",
        "gpu_zoo_infer_1_plain.json",
    ]


def test_a_step_that_fails_is_told_of_and_tried_again(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    broken = {**environment, "BREAKS": "gpu_zoo_infer.json"}
    code, text, calls = session(tmp_path / "out", broken)
    assert (code, len(calls)) == (1, STEPS)
    assert "no such network" in text
    assert "gpu_zoo_infer failed (2): see " in text
    code, _, calls = session(tmp_path / "out", environment)
    assert (code, len(calls)) == (0, STEPS + 1)


def test_kernels_that_compute_something_else_are_told_of(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    code, text, calls = session(tmp_path / "out", {**environment, "WRONG": "1"})
    assert (code, len(calls)) == (1, STEPS)
    assert "the kernels' tests failed: see " in text
    assert session(tmp_path / "out", environment)[0] == 0


def test_it_ends_in_time(tmp_path: Path, environment: dict[str, str]) -> None:
    code, text, calls = session(tmp_path / "out", environment, seconds=10)
    assert (code, calls) == (75, [])
    assert "time is up before gpu_launches: run the same command again" in text
    hangs = {**environment, "HANGS": "gpu_launches.json", "SPARE": "1"}
    code, text, calls = session(tmp_path / "out", hangs, seconds=2)
    assert (code, len(calls)) == (75, 1)
    assert "time is up in gpu_launches: run the same command again" in text


def test_without_a_gpu_it_says_so(tmp_path: Path, environment: dict[str, str]) -> None:
    code, text, calls = session(tmp_path / "out", {**environment, "NO_GPU": "1"})
    assert (code, calls) == (2, [])
    assert "run this on a machine with an NVIDIA GPU" in text
