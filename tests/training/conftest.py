"""One short run that many tests look at."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdna_zoo.training.command import cli as command
from tests.training.support import fit


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> command.CLI:
    return fit(
        tmp_path_factory.mktemp("run"),
        "--trainer.max_epochs=2",
        "--trainer.limit_train_batches=12",
        "--trainer.log_every_n_steps=1",
        "--model.schedule.warmup_epochs=0.5",
    )


@pytest.fixture(scope="package")
def folder(trained: command.CLI) -> Path:
    assert trained.trainer.log_dir is not None
    return Path(trained.trainer.log_dir)


def _mounted(folder: Path, options: str) -> Iterator[Path]:
    """A real file system in memory; mounting it takes root."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("only root may mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    yield from _mounted(tmp_path / "disk", "size=4m")


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that takes no file."""
    yield from _mounted(tmp_path / "disk", "ro")
