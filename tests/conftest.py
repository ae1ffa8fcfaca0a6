"""Keep the tests off the network and out of the user's caches; set before anything is imported.

SIGTERM and SIGINT end pytest, also in the middle of a fit. ``pytest -m integration`` is that layer
alone: of its files, what is ``slow`` or needs a GPU or a network stays out.
"""

import atexit
import logging
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from types import FrameType

import pytest

_cache = tempfile.mkdtemp(prefix="kdna-zoo-tests-")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
# The networks are tiny: a second thread gains nothing, and on shared cores it can cost much.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not Path("/proc/driver/nvidia/version").exists():  # without a GPU kernels are interpreted
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported
os.environ.update(HF_HOME=_cache, HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the layers apart."""
    if config.option.markexpr == "integration":
        config.option.markexpr = "integration and not slow and not gpu and not network"


class EndOfTests:
    """Handles a signal: no further test is begun, and the one that runs is left.

    Lightning makes a KeyboardInterrupt an ordinary exit, and tests catch what is raised in them, so
    the session is told first.
    """

    def __init__(self, session: pytest.Session) -> None:
        self.session = session
        self.process = os.getpid()
        self.code = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """End the session, or a forked process that has set up nothing of its own."""
        if os.getpid() != self.process:
            os._exit(128 + number)
        self.code = 128 + number
        name = signal.Signals(number).name
        self.session.shouldstop = f"ended by {name}"
        pytest.exit(f"ended by {name}", self.code)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen to the signals."""
    if threading.current_thread() is threading.main_thread():
        session.config.stash[_end] = end = EndOfTests(session)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Exit as a shell has it for a process that a signal ended."""
    end = session.config.stash.get(_end, None)
    if end and end.code:
        session.exitstatus = end.code


@pytest.fixture(scope="session", autouse=True)
def _autograd_without_threads() -> None:
    """Begin autograd while the CPU is its one device; it has no threads then, and can be forked.

    `torch.export` and `torch.compile` make torch look for others, and a first backward after them
    starts threads, without which a forked process cannot go backward.
    """
    import torch  # not before there is a test to run

    torch.autograd.backward(torch.ones((), requires_grad=True).sum())


@pytest.fixture
def caplog(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    """Hear Lightning too, which keeps its messages to itself where it is imported first."""
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "propagate", True)
    return caplog


_end = pytest.StashKey[EndOfTests]()


def _leave_to_the_default() -> None:
    """Let a forked process die of SIGTERM, as any does."""
    if isinstance(signal.getsignal(signal.SIGTERM), EndOfTests):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


os.register_at_fork(after_in_child=_leave_to_the_default)
