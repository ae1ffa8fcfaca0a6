"""Peak memory of a case's step, above what the process held before the network was built.

It covers weights, images, activations, workspaces, and in training gradients and momentum.

* CUDA: ``torch.cuda.max_memory_allocated``, in the process of the run.
* CPU: the peak of the resident set (VmHWM of Linux) in a process of the case's own, reset
  after the network is built and has taken its first two steps; the libraries are loaded and warm
  before the measure starts. glibc is told to give freed blocks back at once: the figure is what is
  in use, and repeats within 1 %. As it comes, glibc would add a fifth to a third that differs from
  run to run. Where there is no VmHWM, ru_maxrss stands in, which includes the building.

What torch.compile's own machinery keeps is part of a compiled case's figure on a CPU.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from kdna_zoo.analysis.bench.cases import BenchmarkCase, Runner, Setting, make_runner
from kdna_zoo.errors import RunError

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # bytes; larger blocks come from the system


def peak_on_cpu(case: BenchmarkCase, setting: Setting) -> int:
    """Measure the peak memory of a step on the CPU, in a process of its own; in bytes.

    Raises:
        RunError: If the process failed, with what it said last.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps([asdict(case), asdict(setting)])],
        env={**os.environ, **ALLOCATOR},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it was ended from outside"])[-1]
        raise RunError(f"cannot measure the memory of {case}: {last}")
    return int(done.stdout.splitlines()[-1])


def peak_on_cuda(build: Callable[[], Runner]) -> tuple[Runner, int]:
    """Build a case and measure the peak memory of its third step on the GPU, in bytes."""
    _warm_cuda()
    before = torch.cuda.memory_allocated()
    runner = build()
    runner.step()
    runner.step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    runner.step()
    torch.cuda.synchronize()
    return runner, torch.cuda.max_memory_allocated() - before


def _warm_cuda() -> None:
    """Let cuBLAS take its workspace, so that it is not put down to the first case."""
    square = torch.ones(8, 8, device="cuda")
    _ = square @ square


def _measure_here(case: BenchmarkCase, setting: Setting) -> int:
    """Measure in this process, which must be a fresh one."""
    torch.set_num_threads(setting.threads)
    _warm(case, setting)
    before = _resident()
    runner = make_runner(case, setting)
    runner.step()
    runner.step()
    gc.collect()
    if RESET.exists():
        RESET.write_text("5")  # the peak starts from what is resident now
    runner.step()
    return _peak() - before


def _warm(case: BenchmarkCase, setting: Setting) -> None:
    """Load what torch loads late, by steps of a tiny network."""
    small = Setting(setting.mode, 2, 32, setting.device, setting.threads, setting.dtype)
    runner = make_runner(BenchmarkCase("test_kdna_resnet", case.form), small)
    runner.step()
    runner.step()
    del runner
    gc.collect()


def _resident() -> int:
    return _status("VmRSS") if STATUS.exists() else _peak()


def _peak() -> int:
    if STATUS.exists():
        return _status("VmHWM")
    import resource  # POSIX only

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(key: str) -> int:
    """Read a size from Linux's account of this process, in bytes."""
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    case, setting = json.loads(sys.argv[1])
    peak = _measure_here(BenchmarkCase(**case), Setting(**setting))
    sys.stdout.write(f"{peak}\n")
