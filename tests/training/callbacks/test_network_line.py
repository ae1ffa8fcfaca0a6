"""What a run says of its network, and what it leaves out."""

from pathlib import Path

import pytest

from kdna_zoo.cli import main
from kdna_zoo.training.command.quiet import TIP

SHORT = ("--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1")
TINY = ("--data.input_size=[3,28,28]", "--data.batch_size=4", "--trainer.max_epochs=1", *SHORT)


def fit(folder: Path, *more: str) -> None:
    bar = "--trainer.enable_progress_bar=false"
    place = f"--trainer.default_root_dir={folder}"
    assert main(["fit", "--model.arch=test_kdna_resnet", *TINY, bar, place, *more]) == 0


def test_one_line_and_no_zeros(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        fit(tmp_path)
    lines = [m for m in caplog.messages if m.startswith("network ")]
    assert len(lines) == 1
    assert lines[0].startswith("network test_kdna_resnet: ")
    assert lines[0].endswith(" parameters; from random weights")
    assert "FLOPs" not in "".join(capsys.readouterr())
    assert not [message for message in caplog.messages if TIP.strip() in message]


def test_the_table_where_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        fit(tmp_path, "--trainer.enable_model_summary=true")
    assert "Trainable params" in "".join(capsys.readouterr()) + caplog.text
    assert not [m for m in caplog.messages if m.startswith("network ")]
