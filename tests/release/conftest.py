from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from kdna_zoo.records.record import parse_record
from kdna_zoo.release.checkpoint import TrainedModel, read_checkpoint

from .support import make_record
from .training import TinyClassifier, train


@pytest.fixture(scope="session")
def raw_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TinyClassifier]:
    """A checkpoint of a plain run, and the module as it was when it was saved."""
    module = TinyClassifier(make_record())
    return train(tmp_path_factory.mktemp("raw"), module), module


@pytest.fixture(scope="session")
def ema_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a run that averaged its weights."""
    folder = tmp_path_factory.mktemp("ema")
    return train(folder, TinyClassifier(make_record()), EMAWeightAveraging(decay=0.5))


@pytest.fixture(scope="session")
def trained(raw_run: tuple[Path, TinyClassifier]) -> TrainedModel:
    return read_checkpoint(raw_run[0])


@pytest.fixture
def changed_checkpoint(raw_run: tuple[Path, TinyClassifier], tmp_path: Path) -> Any:
    """Saves the plain run's checkpoint with some of its entries changed."""

    def change(**entries: Any) -> Path:
        checkpoint = torch.load(raw_run[0], weights_only=True)
        path = tmp_path / "changed.ckpt"
        torch.save({**checkpoint, **entries}, path)
        return path

    return change


@pytest.fixture
def with_record(trained: TrainedModel) -> Any:
    """Gives the trained network another record."""

    def make(**changes: Any) -> TrainedModel:
        record = parse_record(make_record(**changes))
        return TrainedModel(trained.model, record, weights="raw", averaged=False)

    return make
