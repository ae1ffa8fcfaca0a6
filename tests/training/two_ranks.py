"""Command lines in two processes of a machine, as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

DDP = ("--trainer.devices=2", "--trainer.strategy=ddp")
REPOSITORY = Path(__file__).parents[2]


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Begin a command line in a process of its own, which starts the second."""
    return subprocess.Popen(
        [sys.executable, "-m", "kdna_zoo.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]", seconds: float = 120) -> tuple[int, str]:
    """Wait for it; return its exit code and what it said."""
    try:
        said = process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        raise
    return process.returncode, said
