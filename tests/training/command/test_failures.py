"""Whatever ends a run is one line: with the way out, or with where the whole traceback is."""

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from kdna_zoo import cli
from kdna_zoo.cli.app import main
from kdna_zoo.tracebacks import leave_traceback
from kdna_zoo.training.command.failures import explain
from tests.training.support import TINY

SHORT = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--data.batch_size=4")
STOPPER = "--trainer.callbacks+=EarlyStopping"
HERE = "--trainer.callbacks+=tests.training.command.test_failures."


def error_of(line: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command line; return its exit code and what it says, which is one line."""
    capsys.readouterr()
    code = main(line)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert said.count("kdna-zoo: ") == 1
    assert last.startswith("kdna-zoo: "), "the message is one line, and the last"
    return code, last


def line(folder: Path, *more: str) -> list[str]:
    fixed = (f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=1")
    return ["fit", *TINY, *SHORT, *fixed, *more]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.batch_size=1"], "cannot train on one image .*: give data.batch_size 2 or more"),
        (["--data.batch_size=1", "--model.arch=resnet18"], "give data.batch_size 2 or more"),
        (["--data.train_split=train[:1]"], "with as many training images on each device"),
        (["--trainer.val_check_interval=100"], "fewer batches than trainer.val_check_interval"),
        (["--trainer.val_check_interval=0"], "val_check_interval 0 is never"),
        (["--trainer.accumulate_grad_batches=0"], "accumulate_grad_batches must be at least 1"),
        ([STOPPER, "--trainer.callbacks.monitor=val/acc"], "`val/acc` which is not .*`val/top1`"),
        (["--checkpoint.monitor=val/acc"], "could not find the monitored key.*'val/top1'"),
        (["--model.arch=vit_tiny_patch16_224"], "images of one size .*model .224.*data.input_size"),
        (["--model.arch=vgg11", "--data.input_size=[3,4,4]"], "too small for the network"),
        (["--data.crop_pct=-1"], "crop_pct -1.0: the part of the image that is kept is above 0"),
        (["--data.std=[0,0,0]"], "images are divided by it, so it is above 0"),
        (["--data.num_classes=1"], "nothing to tell apart in 1 class"),
        (["--model.compile=tvm"], "torch cannot compile: .*leave model.compile out"),
        (["--seed_everything=-3"], "seed_everything cannot be used .*from 0 to 4294967295"),
        (["--trainer.default_root_dir=/proc/nowhere"], "nor can it be made: /proc/nowhere"),
        (["--trainer.logger=WandbLogger"], "a package is missing: .*'wandb.*pip install"),
        (["--trainer.logger+=lightning.pytorch.loggers.MLFlowLogger"], "is missing: .*'mlflow"),
        (["--trainer.precision=transformer-engine"], "is missing: .*'transformer_engine"),
        (["--trainer.callbacks+=nowhere.Class"], "trainer.callbacks: No module named 'nowhere'"),
        (["--trainer.plugins=[nonsense]"], "trainer.plugins: .*Expected a dot import path string"),
    ],
)
def test_one_line_with_the_way_out(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = error_of(line(tmp_path, *options), capsys)
    assert code == 2
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said)


class Breaks(Callback):
    """Raise what nobody expects."""

    def on_train_batch_end(self, *args: Any) -> None:
        raise LookupError("nobody\nexpects it")


class FillsTheMemory(Callback):
    """Ask for more memory than there is."""

    def on_train_batch_end(self, *args: Any) -> None:
        torch.empty(1 << 60, dtype=torch.uint8)


def test_an_unknown_error_leaves_its_traceback_in_the_runs_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = error_of(line(tmp_path, f"{HERE}Breaks"), capsys)
    file = tmp_path / "version_0" / "traceback.txt"
    assert code == 1
    assert said.startswith("kdna-zoo: LookupError: nobody expects it. ")
    assert said.endswith(f"the traceback is in {file}")
    text = file.read_text()
    assert text.startswith("kdna-zoo fit --model.arch=test_kdna_resnet")
    assert 'raise LookupError("nobody' in text
    assert f"torch {metadata.version('torch')}" in text.splitlines()[1]


def test_no_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = error_of(line(tmp_path, f"{HERE}FillsTheMemory"), capsys)
    assert code == 1
    assert "memory ran out" in said
    assert "lower data.batch_size" in said


@pytest.mark.parametrize("command", [["models"], ["recipes"], ["info", "resnet18"]])
def test_other_commands_too(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: Any) -> int:
        raise KeyError("unforeseen")

    monkeypatch.setattr(cli.app, "_run", fail)
    code, said = error_of(command, capsys)
    assert code == 1
    assert said.startswith("kdna-zoo: KeyError: 'unforeseen'. This is no error that kdna-zoo knows")
    file = Path(said.rpartition(" is in ")[2])
    assert "unforeseen" in file.read_text()
    file.unlink()


def test_a_traceback_that_can_be_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    said = leave_traceback(KeyError("odd"), ["fit"], tmp_path / "gone" / "traceback.txt")
    assert said.splitlines()[0] == "KeyError: 'odd'. This is no error that kdna-zoo knows:"
    assert said.splitlines()[-1] == "KeyError: 'odd'"


def test_what_a_spawned_process_says() -> None:
    """torch hands its error over as the text of a traceback."""
    text = '-- Process 1 ended\nTraceback:\n  File "x", line 3\nkdna_zoo.errors.RunError: it broke'
    found = explain(RuntimeError(text))
    assert str(found) == "it broke"
    assert found is not None
    assert found.exit_code == 1
