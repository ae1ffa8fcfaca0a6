"""One short run that many tests look at."""

from pathlib import Path

import pytest

from kdna_zoo.training import command
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
