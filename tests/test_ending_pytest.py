"""A signal ends pytest, also while a run has its own handlers: each is sent for real."""

import os
import signal
from pathlib import Path

import pytest
import torch

from tests.training import killed  # noqa: F401 - loaded once, before the forks

pytestmark = pytest.mark.integration

CASES = """
import os, signal, time
from pathlib import Path

import lightning.pytorch as pl
import pytest
from lightning.pytorch.demos.boring_classes import BoringModel

from tests.training.killed import SignalAt, arguments, main, signalled

NUMBER = {number}

def plain(folder):
    os.kill(os.getpid(), NUMBER)
    time.sleep(5)

def fit(folder):
    main(arguments(folder, *signalled(2, NUMBER)))

def lightning(folder):
    options = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    pl.Trainer(max_epochs=9, callbacks=[SignalAt(2, NUMBER)], **options).fit(BoringModel())

def test_one(tmp_path):
    {case}(tmp_path)

def test_two():
    Path("went_on").touch()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("case", ["plain", "fit", "lightning"])
def test_no_test_follows(
    case: str,
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In a forked process, which has all of torch loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # those of a run in workers
    Path("test_cases.py").write_text(CASES.format(case=case, number=int(number)))
    child = os.fork()
    if child == 0:
        code = 70
        try:
            torch.set_num_threads(1)  # a forked process has no thread but its own
            options = ["-p", "tests.conftest", "-p", "no:xdist", "-p", "no:cacheprovider"]
            code = pytest.main([*options, "--rootdir=.", "--basetemp=made", "test_cases.py"])
        finally:
            os._exit(int(code))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + number
    assert f"ended by {number.name}" in capfd.readouterr().out
    assert not Path("went_on").exists()
