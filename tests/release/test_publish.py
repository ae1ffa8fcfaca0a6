import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from kdna_zoo.cli import publish
from kdna_zoo.errors import UserError
from kdna_zoo.release.card import render_card
from kdna_zoo.release.folder import FILES
from kdna_zoo.release.options import Release

from .support import logits
from .training import TinyClassifier


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    publish.add_parser(parser.add_subparsers())
    return publish.run(parser.parse_args(["publish", *map(str, arguments)]))


def load_line(output: str) -> str:
    return output.splitlines()[-1].strip()


def test_report(
    raw_run: tuple[Path, TinyClassifier], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "it's here"
    assert run(raw_run[0], "--to", folder) == 0
    output = capsys.readouterr().out
    assert output.startswith("Published test_kdna_resnet.fashion_mnist_sample (raw weights) in ")
    for name in set(FILES) - {"conversion.png"}:
        assert f"{(folder / name).stat().st_size:,} bytes" in output
        assert name in output
    assert "Top-1 accuracy: 86.10 % of 1,000 images (Fashion-MNIST sample, test)" in output


def test_printed_line_loads_the_network(
    raw_run: tuple[Path, TinyClassifier], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(raw_run[0], "--to", tmp_path / "it's here")
    names: dict[str, Any] = {}
    exec(load_line(capsys.readouterr().out), names)
    assert torch.equal(logits(names["model"]), logits(raw_run[1].model))


def test_averaged_weights(
    ema_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(ema_checkpoint, "--to", tmp_path / "raw")
    assert (
        "not measured; the run measured its average: use --weights ema" in capsys.readouterr().out
    )
    run(ema_checkpoint, "--to", tmp_path / "ema", "--weights", "ema")
    assert "(ema weights)" in capsys.readouterr().out
    assert "running average (EMA)" in (tmp_path / "ema" / "README.md").read_text()
    raw, ema = (tmp_path / name / "model.safetensors" for name in ("raw", "ema"))
    assert raw.read_bytes() != ema.read_bytes()


def test_licence(raw_run: tuple[Path, TinyClassifier], tmp_path: Path, trained: Any) -> None:
    run(raw_run[0], "--to", tmp_path / "x", "--license", "cc-by-4.0")
    readme = (tmp_path / "x" / "README.md").read_text(encoding="utf-8")
    assert "\nlicense: cc-by-4.0\n" in readme
    assert readme == render_card(trained, Release(license="cc-by-4.0"))


def test_folder_that_is_not_empty(raw_run: tuple[Path, TinyClassifier], tmp_path: Path) -> None:
    run(raw_run[0], "--to", tmp_path / "x")
    with pytest.raises(UserError, match=r"is not empty.*--overwrite to replace"):
        run(raw_run[0], "--to", tmp_path / "x")
    assert run(raw_run[0], "--to", tmp_path / "x", "--overwrite") == 0


def test_no_checkpoint_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such checkpoint"):
        run(tmp_path / "x.ckpt", "--to", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
