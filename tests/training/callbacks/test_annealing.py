"""The schedules of dynamic convolutions follow the training, across a resume too."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from kdna_zoo.errors import UserError
from kdna_zoo.peers import Annealed
from kdna_zoo.training import Annealing
from tests.training.support import fit

pytestmark = pytest.mark.integration

SHORT = (
    "--model.arch=test_odconv_resnet",
    "--trainer.limit_train_batches=4",
    "--trainer.limit_val_batches=1",
    "--trainer.callbacks+=kdna_zoo.training.Annealing",
)


def temperatures(model: pl.LightningModule) -> set[float]:
    layers = [module for module in model.modules() if isinstance(module, Annealed)]
    return {round(float(layer.annealed), 4) for layer in layers}


class Note(pl.Callback):
    """Notes the temperature of each batch, after the callback under test has set it."""

    def __init__(self) -> None:
        self.seen: list[set[float]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: pl.LightningModule, *_: Any) -> None:
        self.seen.append(temperatures(pl_module))


def notes(run: Any) -> Note:
    (noted,) = [callback for callback in run.trainer.callbacks if isinstance(callback, Note)]
    return noted


def test_falls_from_30_to_1_over_the_epochs(tmp_path: Path) -> None:
    note = "--trainer.callbacks+=tests.training.callbacks.test_annealing.Note"
    epochs = "--trainer.callbacks.init_args.epochs=2"
    run = fit(tmp_path, *SHORT, epochs, note, "--trainer.max_epochs=3")
    noted = notes(run)
    falling = [{30 - 29 * batch / 8} for batch in range(8)]
    assert noted.seen == [*falling, *[{1.0}] * 4]


def test_a_resumed_run_goes_on_where_it_stood(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="ended after 1 epochs, before .* schedule of 10"):
        first = fit(tmp_path, *SHORT)
    assert temperatures(first.model) == {round(30 - 29 / 10, 4)}
    checkpoint = Path(first.trainer.log_dir or tmp_path) / "checkpoints" / "last.ckpt"
    note = "--trainer.callbacks+=tests.training.callbacks.test_annealing.Note"
    second = fit(tmp_path, *SHORT, note, "--trainer.max_epochs=2", f"--ckpt_path={checkpoint}")
    noted = notes(second)
    assert noted.seen[0] == {round(30 - 29 / 10, 4)}
    assert len(noted.seen) == 4


def test_a_schedule_as_long_as_the_run_is_saved_at_its_end(tmp_path: Path) -> None:
    run = fit(tmp_path, *SHORT, "--trainer.callbacks.init_args.epochs=1")
    assert temperatures(run.model) == {1.0}
    checkpoint = Path(run.trainer.log_dir or tmp_path) / "checkpoints" / "last.ckpt"
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    values = [float(value) for key, value in state.items() if key.endswith(".annealed")]
    assert values == [1.0] * len(values) != []


def test_leaves_other_networks_alone(tmp_path: Path) -> None:
    run = fit(tmp_path, *SHORT, "--model.arch=test_kdna_resnet")
    assert run.trainer.global_step == 4


def test_a_length_of_nothing() -> None:
    with pytest.raises(UserError, match="epochs of the annealing must be more than 0, got 0"):
        Annealing(epochs=0)
