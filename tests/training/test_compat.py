"""What training asks of private parts: each fails when they change, or are there in public."""

import inspect
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import exceptions

from kdna_zoo.training.compat import (
    KeepingWriter,
    WriterLogger,
    average_of,
    cluster_environment,
    end_as_a_tuner,
    finds_unused_parameters,
    option_names,
    validation_is_due,
)

QUIET: dict[str, Any] = {
    **{"accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False},
    **{"enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1},
}


def test_cluster_environment() -> None:
    trainer = pl.Trainer(**QUIET)
    assert isinstance(cluster_environment(trainer), LightningEnvironment)
    assert not hasattr(trainer, "cluster_environment"), "it has it in public"
    assert not hasattr(SingleDeviceStrategy, "cluster_environment"), "it has it in public"


@pytest.mark.parametrize("finds", [False, True])
def test_unused_parameters(finds: bool) -> None:
    strategy = DDPStrategy(find_unused_parameters=finds)
    assert finds_unused_parameters(strategy) == finds
    assert not hasattr(strategy, "find_unused_parameters"), "it has it in public"


class Asking(pl.Callback):
    """Keeps the answer after each step."""

    def __init__(self) -> None:
        self.due: list[bool] = []
        self.validated: list[int] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *others: Any) -> None:
        self.due.append(validation_is_due(trainer))

    def on_validation_start(self, trainer: pl.Trainer, *others: Any) -> None:
        self.validated.append(trainer.global_step)


@pytest.mark.filterwarnings("ignore")
def test_validation_is_due() -> None:
    asking = Asking()
    options = {"limit_train_batches": 7, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    pl.Trainer(**QUIET, **options, val_check_interval=3, callbacks=asking).fit(BoringModel())
    assert asking.validated == [3, 6]
    assert [step for step, due in enumerate(asking.due, 1) if due] == asking.validated


class Ending(pl.Callback):
    """Ends a run after its first step."""

    def on_train_batch_end(self, *others: Any) -> None:
        end_as_a_tuner()


@pytest.mark.filterwarnings("ignore")
def test_end_as_a_tuner() -> None:
    trainer = pl.Trainer(**QUIET, callbacks=Ending())
    trainer.fit(BoringModel())
    assert trainer.global_step == 1
    assert trainer.state.finished
    assert not hasattr(exceptions, "TunerExitException"), "it has it in public"


@pytest.mark.filterwarnings("ignore")
def test_average_of() -> None:
    averaging = WeightAveraging()
    assert average_of(averaging) is None
    model = BoringModel()
    pl.Trainer(**QUIET, limit_train_batches=3, limit_val_batches=0, callbacks=averaging).fit(model)
    average = average_of(averaging)
    assert average is not None
    assert int(average.n_averaged) == 3
    assert not hasattr(averaging, "average_model"), "it has it in public"


def test_option_names() -> None:
    parser, subparser = LightningArgumentParser(), LightningArgumentParser()
    subparser.add_lightning_class_args(pl.Trainer, "trainer")
    parser.add_argument("--verbose")
    parser.add_subcommands().add_subcommand("fit", subparser)
    names = set(option_names(parser))
    assert names >= {"verbose", "trainer.max_epochs", "trainer.devices"}
    public = {name for name in dir(parser) if not name.startswith("_")}
    assert not {name for name in public if "option" in name or "actions" in name}, "it has it"


class OneWriter(WriterLogger):
    def make_writer(self) -> ExperimentWriter:
        return KeepingWriter(self.log_dir)


def test_a_writer_keeps_the_file_that_is_there(tmp_path: Path) -> None:
    for step in range(2):
        logger = OneWriter(tmp_path, name="", version=0)
        logger.log_metrics({"loss": 1.0}, step)
        logger.finalize("success")
        assert isinstance(logger.experiment, KeepingWriter)
        logger.experiment.metrics_keys = ["loss", "step"]
    file = tmp_path / "version_0" / "metrics.csv"
    assert file.read_text().split() == ["loss,step", "1.0,0", "1.0,1"]
    with pytest.warns(UserWarning, match="Previous log files in this directory will be deleted"):
        ExperimentWriter(str(file.parent))
    assert not file.exists(), "Lightning's own keeps it too"
    assert list(inspect.signature(ExperimentWriter).parameters) == ["log_dir"], "it has a choice"
    assert "writer" not in str(inspect.signature(CSVLogger)), "it has a choice"
