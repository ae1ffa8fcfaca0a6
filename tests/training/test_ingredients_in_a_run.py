"""The ingredients of a recipe by their options, in short runs."""

import logging
import math
from pathlib import Path

import pytest
import torch

from kdna_zoo.cli.app import main
from kdna_zoo.training.command import cli as command
from tests.training.support import fit

pytestmark = pytest.mark.integration

ONE_STEP = ("--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1")
PLAIN_STEP = (  # a step is the rate times the gradient
    *ONE_STEP,
    "--model.schedule.sched=constant",
    "--model.optimizer.opt=momentum",
    "--model.optimizer.lr=1",
    "--model.optimizer.momentum=0",
    "--model.optimizer.weight_decay=0",
)


def weights(run: command.CLI) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in run.model.named_parameters()}


def distance(run: command.CLI, other: command.CLI) -> float:
    pairs = zip(weights(run).values(), weights(other).values(), strict=True)
    return math.sqrt(sum((a - b).square().sum().item() for a, b in pairs))


def val_loss(run: command.CLI) -> float:
    return float(run.trainer.callback_metrics["val/loss"])


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> command.CLI:
    return fit(tmp_path_factory.mktemp("step"), *PLAIN_STEP)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> command.CLI:
    return fit(tmp_path_factory.mktemp("start"), *PLAIN_STEP, "--model.optimizer.lr=0")


def test_gradients_are_clipped_by_norm(
    tmp_path: Path, step: command.CLI, start: command.CLI
) -> None:
    clipped = fit(tmp_path, *PLAIN_STEP, "--trainer.gradient_clip_val=0.01")
    assert distance(step, start) > 0.02
    assert distance(clipped, start) == pytest.approx(0.01, rel=1e-3)


def test_accumulated_batches_are_one_batch(tmp_path: Path) -> None:
    """With a network without batch statistics; the images and their crops are the same."""
    norm = ("--model.arch=test_kdna_convnext", "--data.input_size=[3,32,32]")
    small = "--model.optimizer.lr=0.1"
    whole = fit(tmp_path / "1", *PLAIN_STEP, small, *norm, "--data.batch_size=32")
    parts = fit(
        tmp_path / "2",
        *PLAIN_STEP,
        small,
        *norm,
        "--data.batch_size=16",
        "--trainer.limit_train_batches=2",
        "--trainer.accumulate_grad_batches=2",
    )
    assert whole.trainer.global_step == parts.trainer.global_step == 1
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], weight, rtol=1e-4, atol=1e-6)


def test_compiled_is_the_same_network(tmp_path: Path, step: command.CLI) -> None:
    compiled = fit(tmp_path, *PLAIN_STEP, "--model.compile=aot_eager")
    assert compiled.model.model._compiled_call_impl is not None
    assert compiled.model.state_dict().keys() == step.model.state_dict().keys()
    assert distance(compiled, step) < 1e-3
    assert val_loss(compiled) == pytest.approx(val_loss(step), rel=1e-3)


def test_mixed_precision_is_near(tmp_path: Path, start: command.CLI) -> None:
    rate = "--model.optimizer.lr=0"
    mixed = fit(tmp_path, *PLAIN_STEP, rate, "--trainer.precision=bf16-mixed")
    assert val_loss(mixed) == pytest.approx(val_loss(start), rel=0.02)
    assert val_loss(mixed) != val_loss(start)
    assert all(p.dtype == torch.float32 for p in mixed.model.parameters())


def test_mixed_images_train_with_either_loss(tmp_path: Path) -> None:
    mix = ("--model.mix.mixup_alpha=0.2", "--model.mix.cutmix_alpha=1")
    for name in ("ce", "bce"):
        run = fit(tmp_path / name, *ONE_STEP, *mix, f"--model.loss.name={name}")
        assert 0 < float(run.trainer.callback_metrics["train/loss"]) < 5


def test_a_teacher_leaves_no_trace(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = tmp_path / "published"
    assert main(["publish", str(folder / "checkpoints/last.ckpt"), "--to", str(published)]) == 0
    teacher = f"--model.distillation.teacher=local-dir:{published}"
    taught = fit(tmp_path / "taught", *ONE_STEP, teacher)
    alone = fit(tmp_path / "alone", *ONE_STEP)
    assert taught.model.state_dict().keys() == alone.model.state_dict().keys()
    losses = [float(run.trainer.callback_metrics["train/loss"]) for run in (taught, alone)]
    assert losses[0] != losses[1]
    ignored = fit(tmp_path / "ignored", *ONE_STEP, teacher, "--model.distillation.weight=0")
    assert float(ignored.trainer.callback_metrics["train/loss"]) == losses[1]


def test_early_stopping(tmp_path: Path) -> None:
    stop = ("EarlyStopping", "monitor=val/loss", "patience=1", "min_delta=100")
    options = ["--trainer.callbacks+=EarlyStopping"]
    options += [f"--trainer.callbacks.{option}" for option in stop[1:]]
    run = fit(tmp_path, *ONE_STEP, "--trainer.max_epochs=9", *options)
    assert run.trainer.current_epoch == 2, "one epoch sets the mark, the next does not beat it"
    steps = run.trainer.global_step
    resume = (*ONE_STEP, "--trainer.max_epochs=9", "--resume", *options)
    again = fit(tmp_path, *resume)
    assert again.trainer.global_step == steps, "what was stopped stays so"
    patient = fit(tmp_path, *resume, "--trainer.callbacks.patience=2")
    assert patient.trainer.global_step == steps + 1, "the command's patience counts"


def test_search_for_a_learning_rate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run = fit(tmp_path, "--rate_finder.steps=20", "--model.optimizer.layer_decay=0.5")
    (line,) = [r.message for r in caplog.records if "suggested learning rate" in r.message]
    assert 1e-6 < float(line.rpartition(" ")[2]) < 1
    assert run.trainer.global_step == 0, "the run ends with the suggestion"


def test_unknown_backend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model.compile=fast", f"--trainer.default_root_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert "torch cannot compile with 'fast'; it has" in error
    assert "inductor" in error


def test_a_run_that_would_never_validate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=5"]
    assert main(["fit", f"--trainer.default_root_dir={tmp_path}", *options]) == 2
    error = capsys.readouterr().err
    assert "check_val_every_n_epoch is 5 and trainer.max_epochs 3" in error
