"""Fine-tuning with the head first."""

from pathlib import Path

import pytest
import torch

from kdna_zoo.cli.app import main
from kdna_zoo.training.command import cli as command
from tests.training.support import fit

pytestmark = pytest.mark.integration

SHORT = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1")


def moved(run: command.CLI, start: dict[str, torch.Tensor]) -> set[str]:
    state = run.model.state_dict()
    return {key for key in start if not torch.equal(start[key], state[key])}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights that every run below begins with."""
    idle = ("--model.optimizer.lr=0", "--model.optimizer.weight_decay=0")
    run = fit(tmp_path_factory.mktemp("idle"), *SHORT, *idle)
    state = run.model.state_dict()
    return {key: value.clone() for key, value in state.items() if "num_batches" not in key}


def test_only_the_head_moves_at_first(tmp_path: Path, start: dict[str, torch.Tensor]) -> None:
    run = fit(tmp_path, *SHORT, "--head_first.epochs=1")
    parameters = {name for name, _ in run.model.named_parameters()}
    assert moved(run, start) & parameters == {"model.fc.weight", "model.fc.bias"}


def test_then_all_layers_move(tmp_path: Path, start: dict[str, torch.Tensor]) -> None:
    run = fit(tmp_path, *SHORT, "--head_first.epochs=1", "--trainer.max_epochs=2")
    weights = {name for name, p in run.model.named_parameters() if p.ndim > 1}
    assert weights <= moved(run, start)
    assert all(p.requires_grad for p in run.model.parameters())


def test_the_optimizer_has_every_parameter_from_the_start(tmp_path: Path) -> None:
    run = fit(tmp_path, *SHORT, "--head_first.epochs=1", "--model.optimizer.layer_decay=0.5")
    held = [p for group in run.trainer.optimizers[0].param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in run.model.parameters()}


def test_negative_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--head_first.epochs=-1", f"--trainer.default_root_dir={tmp_path}"]) == 2
    assert "head_first.epochs must be at least 0, got -1" in capsys.readouterr().err
