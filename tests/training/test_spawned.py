"""Runs in processes that torch spawns: whatever a trainer holds has to go there."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from kdna_zoo.training.callbacks.averaging import WeightAverage
from kdna_zoo.training.command import cli as command
from kdna_zoo.training.command.save_run import SaveRun
from tests.training.support import fit

SHORT = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--data.batch_size=8")


def test_callbacks_can_be_sent(trained: command.CLI, folder: Path) -> None:
    callbacks = trained.trainer.callbacks  # type: ignore[attr-defined]
    saves = next(call for call in callbacks if isinstance(call, SaveRun))
    sent = pickle.loads(pickle.dumps(saves))
    assert sent.folder == folder
    assert sent._recipe == (folder / "config.yaml").read_text()
    average = pickle.loads(pickle.dumps(WeightAverage(decay=0.75)))
    ones, fours = (nn.Parameter(torch.full((2,), value)) for value in (1.0, 4.0))
    assert torch.equal(average._kwargs["avg_fn"](ones, fours, 3), torch.full((2,), 1.75))


@pytest.mark.slow
def test_two_spawned_processes(tmp_path: Path) -> None:
    spawned = ("--trainer.strategy=ddp_spawn", "--trainer.devices=2", "--ema.decay=0.5")
    fit(tmp_path, *SHORT, *spawned)
    run = tmp_path / "version_0"
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["kdna_zoo"]["run"]["devices"] == 2
    assert last["kdna_zoo"]["run"]["command"].startswith("kdna-zoo fit --model.arch=test_kdna")
    assert last["averaging_state"]["n_averaged"] == 2
    assert json.loads((run / "result.json").read_text())["steps"] == 2
