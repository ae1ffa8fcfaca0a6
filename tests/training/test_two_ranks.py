"""Two processes train, measure and predict what one does."""

import csv
import math
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from kdna_zoo.training.command import cli as command
from tests.training.killed import signalled
from tests.training.resume.test_resume import assert_same
from tests.training.support import TINY
from tests.training.two_ranks import DDP, finish, start

pytestmark = pytest.mark.integration

ODD = "test[:251]"  # images: two ranks cannot share them evenly
FIT = (
    "fit",
    *TINY[:1],
    *TINY[2:],
    "--data.input_size=[3,32,32]",
    "--model.optimizer.lr=0.02",
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
    "--data.train_split=train[:160]",
    f"--data.val_split={ODD}",
    "--data.eval_batch_size=25",
    "--data.augment={auto_augment: rand-m9}",
)
SYNCHRONISED = "--trainer.plugins=tests.training.gloo_norm.GlooNorms"
TWO = (*FIT, *DDP, SYNCHRONISED, "--data.batch_size=16")


def column(folder: Path, name: str) -> list[float]:
    with (folder / "version_0" / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def test_two_ranks_train_measure_and_predict_as_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    command.run([*FIT, f"--trainer.default_root_dir={one}", "--data.batch_size=32"])
    code, said = finish(start(*TWO, f"--trainer.default_root_dir={two}"))
    assert code == 0, said
    for name, count in (("train/loss_step", 10), ("train/loss_epoch", 2), ("val/loss", 2)):
        assert len(column(one, name)) == count
        assert column(two, name) == pytest.approx(column(one, name), abs=1e-4), name
    assert column(two, "val/images") == [251, 251], "each image once, no padding"
    assert column(two, "val/top1") == pytest.approx(column(one, "val/top1"), abs=1e-6)
    checkpoint = last(two)
    assert torch.load(checkpoint, weights_only=True)["kdna_zoo"]["run"]["devices"] == 2
    assert [path.name for path in two.iterdir()] == ["version_0"]

    resumes_exactly(tmp_path / "killed", checkpoint)
    predict = ("predict", *FIT[1:7], f"--data.test_split={ODD}", f"--ckpt_path={checkpoint}")
    code, said = finish(start(*predict, *DDP, f"--predictions.path={two / 'p.csv'}"))
    assert code == 0, said
    with (two / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(251)), "each image once, in order"
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert right / 251 == pytest.approx(column(two, "val/top1")[-1], abs=1e-6)
    assert not list(two.glob(".p.csv*"))


def resumes_exactly(folder: Path, whole: Path) -> None:
    """Kill both ranks in a step: what goes on ends as the run that nothing interrupted."""
    every = "--last_checkpoint.every_n_train_steps=1"
    line = (*TWO, f"--trainer.default_root_dir={folder}", every, "--resume")
    code, said = finish(start(*line, *signalled(7)))
    assert code == -signal.SIGKILL, said
    code, said = finish(start(*line))
    assert code == 0, said
    assert "after step 7" in said or "after step 6" in said, "as rank 0 had saved it, or not yet"
    ends = (torch.load(last(folder), weights_only=True), torch.load(whole, weights_only=True))
    for key in ("state_dict", "optimizer_states", "global_step"):
        assert_same(ends[0][key], ends[1][key], key)


def test_a_killed_rank_ends_the_run(tmp_path: Path) -> None:
    run = start(*FIT, *DDP, f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=1000")
    second = wait_for_training(run, tmp_path)
    os.kill(second, signal.SIGKILL)
    killed = time.monotonic()
    code, said = finish(run, 60)
    assert code not in (0, None), said
    assert time.monotonic() - killed < 60
    whole = torch.load(last(tmp_path), weights_only=True)
    assert all(math.isfinite(float(t.sum())) for t in whole["state_dict"].values())


def test_sigterm_stops_both_ranks(tmp_path: Path) -> None:
    line = (*FIT, *DDP, f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=1000")
    run = start(*line)
    wait_for_training(run, tmp_path)
    run.terminate()
    code, said = finish(run, 60)
    assert code == 143, said
    assert "stopped by signal 15" in said
    step = torch.load(last(tmp_path), weights_only=True)["global_step"]
    epochs = math.ceil((step + 1) / 2)  # two and a half batches of 64 to a rank
    code, said = finish(start(*line, "--resume", f"--trainer.max_epochs={epochs}"))
    assert code == 0, said
    assert f"after step {step}" in said


def last(folder: Path) -> Path:
    return folder / "version_0" / "checkpoints" / "last.ckpt"


def wait_for_training(run: "subprocess.Popen[str]", folder: Path) -> int:
    """Wait for the first checkpoint; return the process of the second rank."""
    for _ in range(600):
        if last(folder).exists():
            children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            return int(children[0])
        if run.poll() is not None:
            break
        time.sleep(0.1)
    run.kill()
    raise AssertionError(f"no checkpoint came: {run.communicate()[0]}")
