"""Runs on a disk that is full, each caused for real."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from kdna_zoo.cli.app import main
from kdna_zoo.errors import RunError
from kdna_zoo.training.logging.loggers import MetricsFile
from kdna_zoo.training.resume.checkpointing import SafeCheckpointIO
from tests.training.killed import STEPS_PER_EPOCH, arguments, run
from tests.training.resume.test_faults import checkpoints, step_of

pytestmark = pytest.mark.integration


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow larger: a write fails with an error, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_no_room_for_a_checkpoint(tmp_path: Path) -> None:
    io, file = SafeCheckpointIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"global_step": 1}, file)
    large = {"global_step": 2, "weights": torch.zeros(100_000)}
    with file_size_limit(50_000), pytest.raises(RunError) as error:
        io.save_checkpoint(large, file)
    assert f"cannot write the checkpoint {file}: " in str(error.value)
    assert os.strerror(errno.EFBIG) in str(error.value)
    assert "make room and go on with --resume" in str(error.value)
    assert step_of(file) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_disk_that_is_full_at_a_checkpoint(
    small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Another program takes the room between two epochs; once it is back, the run goes on."""
    assert run(arguments(small_disk, "--trainer.max_epochs=1")) == 0
    last, previous = (checkpoints(small_disk) / f"{name}.ckpt" for name in ("last", "previous"))
    filler = small_disk / "other"
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        filler.write_bytes(bytes(2**22))  # writes what there is room for
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - last.stat().st_size // 2)
    line = arguments(small_disk, "--resume", "--trainer.max_epochs=2")
    assert run(line) == 1
    said = capfd.readouterr().err
    assert f"cannot write the checkpoint {last}: " in said
    assert os.strerror(errno.ENOSPC) in said
    assert step_of(last) == STEPS_PER_EPOCH
    assert not previous.exists()
    assert not list(last.parent.glob(".*")), "nothing half written takes room"
    filler.unlink()
    assert run(line) == 0
    assert (step_of(last), step_of(previous)) == (2 * STEPS_PER_EPOCH, STEPS_PER_EPOCH)


def test_a_run_without_room_ends_and_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(tmp_path, "--trainer.max_epochs=1")) == 0
    last = checkpoints(tmp_path) / "last.ckpt"
    size = last.stat().st_size
    with file_size_limit(size // 2):
        assert run(arguments(tmp_path, "--resume", "--trainer.max_epochs=2")) == 1
    assert "cannot write the checkpoint" in capfd.readouterr().err
    assert step_of(last) == STEPS_PER_EPOCH
    assert run(arguments(tmp_path, "--resume", "--trainer.max_epochs=2")) == 0
    assert step_of(last) == 2 * STEPS_PER_EPOCH


def test_no_room_for_what_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: MetricsFile) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(MetricsFile, "save", full)
    assert main(arguments(tmp_path)) == 1
    assert "the disk is full: [Errno 28] No space left on device" in capsys.readouterr().err
