"""The machine and the software that a figure belongs to."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parents[1]


def hardware(device: str) -> str:
    """Name what computes: the GPU, or the CPU and the number of its cores."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Return the versions that matter for speed, and of this package with its commit."""
    from kdna_zoo import __version__

    commit = _commit()
    return {
        "kdna_zoo": f"{__version__} ({commit})" if commit else __version__,
        "torch": str(torch.__version__),  # torch's own tells its CUDA build
        "timm": metadata.version("timm"),
        "python": platform.python_version(),
    }


def _commit() -> str | None:
    """Return the commit of the checkout, ``-dirty`` if it was changed; None if installed."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False
        )
    except OSError:  # git is not installed
        return None
    return done.stdout.strip() or None
