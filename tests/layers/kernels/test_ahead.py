"""Each kernel is compiled to machine code for GPUs of 8.0 and 9.0, with or without one here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
KERNELS = {
    *("pool", "statistics", "scale", "modulate"),
    *("gate_backward", "norm_backward", "scale_backward", "modulate_backward"),
}


def test_kernels_compile(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.layers.kernels.ahead", "80", "90"]
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}  # nothing compiled before
    run = subprocess.run(command, capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stderr
    compiled = json.loads(run.stdout)
    assert {*compiled} == {"80", "90"}
    for entries in compiled.values():
        assert {entry["name"] for entry in entries} == KERNELS
        assert max(entry["shared"] for entry in entries) < 48 * 2**10
        assert min(entry["code"] for entry in entries) > 1000
