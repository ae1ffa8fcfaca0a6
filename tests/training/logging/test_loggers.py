"""A logger of the user's is added: the run's folder is whole all the same."""

import json
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import Logger

from kdna_zoo.cli.app import main
from kdna_zoo.training.logging.loggers import read_rows
from tests.training.support import TINY, fit

SHORT = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--data.batch_size=8")
WHOLE = {"checkpoints", "config.yaml", "learning_curve.png", "metrics.csv", "result.json"}


class Service(Logger):
    """What sends figures elsewhere, as the loggers of services do; here to a list."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[dict[str, float]] = []

    @property
    def name(self) -> str:
        return "service"

    @property
    def version(self) -> str:
        return "of_its_own"

    @property
    def save_dir(self) -> str:
        return "/nowhere"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append(dict(metrics))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


ADDED = "--trainer.logger+=tests.training.logging.test_loggers.Service"
GIVEN = "--trainer.logger=tests.training.logging.test_loggers.Service"


@pytest.mark.parametrize("option", [ADDED, GIVEN])
def test_a_logger_is_added(option: str, tmp_path: Path) -> None:
    run = fit(tmp_path, *SHORT, option)
    folder = tmp_path / "version_0"
    assert run.trainer.log_dir == str(folder)
    assert {path.name for path in folder.iterdir()} >= WHOLE
    assert (folder / "checkpoints" / "best.ckpt").exists()
    rows = [row for row in read_rows(folder / "metrics.csv") if "val/top1" in row]
    assert rows[0]["val/top1"] == json.loads((folder / "result.json").read_text())["final"]["top1"]
    (service,) = (logger for logger in run.trainer.loggers if isinstance(logger, Service))
    assert any("val/top1" in figures for figures in service.logged)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.integration
def test_a_run_with_another_logger_is_resumed_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path, *SHORT, ADDED)
    resumed = fit(tmp_path, *SHORT, ADDED, "--trainer.max_epochs=2", "--resume")
    assert resumed.trainer.global_step == 4
    assert [path.name for path in tmp_path.iterdir()] == ["version_0"]
    steps = [row["step"] for row in read_rows(tmp_path / "version_0" / "metrics.csv")]
    assert steps == sorted(steps)
    assert steps[-1] == 3
    assert main(["compare", str(tmp_path)]) == 0
    assert "test_kdna_resnet" in capsys.readouterr().out


def test_a_csv_logger_of_the_users_writes_where_it_says(tmp_path: Path) -> None:
    theirs = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'theirs'}"]
    fit(tmp_path / "ours", *SHORT, *theirs)
    assert {path.name for path in (tmp_path / "ours" / "version_0").iterdir()} >= WHOLE
    assert len(list((tmp_path / "theirs").rglob("metrics.csv"))) == 1


def test_no_logger_is_none(tmp_path: Path) -> None:
    line = ["fit", *TINY, *SHORT, f"--trainer.default_root_dir={tmp_path}"]
    assert main([*line, "--trainer.max_epochs=1", "--trainer.logger=false"]) == 0
    assert not list(tmp_path.rglob("metrics.csv"))
