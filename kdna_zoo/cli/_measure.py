"""Measures a published folder here: its accuracy by `kdna-zoo validate`, and its throughput."""

import tempfile
from pathlib import Path
from typing import Any

import timm
import torch

from kdna_zoo.analysis.bench.timing import measure
from kdna_zoo.cli._networks import input_size
from kdna_zoo.errors import UserError
from kdna_zoo.records.machine import hardware
from kdna_zoo.records.record import Measured, Metrics, Record, Throughput

BATCH = 16  # images, as `kdna-zoo bench` takes by default
ROUNDS = 7
TOLERANCE = 0.0005  # how far half precision may move top-1: 0.05 points


def measure_folder(folder: Path, record: Record, half: bool) -> Measured:
    """Measure the files of a release on this machine's CPU.

    Args:
        folder: The files, loaded through timm.
        record: Says on which images: those that the training validated on.
        half: Whether the weights were rounded; then the training's figure must still hold.

    Raises:
        UserError: There is no recipe that names the images, or rounding cost too much.
    """
    metrics = _validate(folder, record)
    top1, before = metrics.top1, record.metrics.top1 if record.metrics else None
    if half and top1 is not None and before is not None and abs(top1 - before) > TOLERANCE:
        raise UserError(
            f"in half precision top-1 is {top1:.2%}, and it was {before:.2%}:"
            f" more than {100 * TOLERANCE:.2f} points apart. Publish without --half"
        )
    machine = f"{hardware('cpu')}, {torch.get_num_threads()} threads"
    return Measured(metrics, _throughput(folder, machine), machine)


def _validate(folder: Path, record: Record) -> Metrics:
    """Run `kdna-zoo validate` with the data section of the training's recipe."""
    import yaml

    from kdna_zoo.training.callbacks.run_state import run_state
    from kdna_zoo.training.command import cli as command

    if not record.run.recipe:
        raise UserError(
            "--measure and --half need the images that the training validated on, and this run"
            " has no recipe that names them: train with `kdna-zoo fit`"
        )
    data = yaml.safe_load(record.run.recipe)["data"]
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "data.yaml"
        config.write_text(yaml.safe_dump({"data": data}), encoding="utf-8")
        cli: Any = command.run(
            [
                *("validate", "--config", str(config)),
                *("--model.arch", f"local-dir:{folder}", "--model.pretrained", "true"),
                *("--trainer.accelerator", "cpu", "--trainer.devices", "1"),
                *("--trainer.default_root_dir", scratch),
            ]
        )
    measured = run_state(cli.trainer).measured
    assert measured is not None, "it has validated"
    values = measured[1]
    return Metrics(
        split=cli.datamodule.splits.title("val"),
        images=int(values["val/images"]),
        top1=values["val/top1"],
        top5=values.get("val/top5"),
        loss=values["val/loss"],
    )


def _throughput(folder: Path, machine: str) -> Throughput:
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.randn(BATCH, *input_size(model))  # (N, C, H, W)
    with torch.inference_mode():
        times = measure([lambda: model(images)], ROUNDS).times[0]
    return Throughput(round(BATCH / times.median, 1), BATCH, "as loaded, not fused", machine)
