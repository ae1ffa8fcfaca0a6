"""The machine, the versions and the commit that a figure was made with."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from kdna_zoo.version import __version__

PACKAGE = Path(__file__).resolve().parents[1]


def hardware(device: torch.device | str) -> str:
    """Name the processor that computes: the GPU, or the CPU and the number of its cores."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, this package, torch and other packages.

    Args:
        *packages: Names of those, as they are installed by.
    """
    own = {"python": platform.python_version(), "kdna_zoo": __version__}
    others = {name: metadata.version(name) for name in packages}
    return {**own, "torch": str(torch.__version__), **others}  # torch's own tells its CUDA build


def versions_of_measurement() -> dict[str, str]:
    """Return the versions that matter for speed, and of this package with its commit, in short."""
    found, commit = versions("timm"), git_commit(length=7)
    own = f"{__version__} ({commit})" if commit else __version__
    return {"kdna_zoo": own, **{name: found[name] for name in ("torch", "timm", "python")}}


def git_commit(length: int = 40) -> str | None:
    """Return the commit of this package's checkout, ``-dirty`` if changed; None if installed.

    Args:
        length: Digits of the commit, at the least.
    """
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != PACKAGE.parent:
        return None
    return _git("describe", "--always", "--dirty", f"--abbrev={length}", "--exclude=*") or None


def _git(*args: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *args], cwd=PACKAGE, capture_output=True, text=True, check=False
        )
    except OSError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None
