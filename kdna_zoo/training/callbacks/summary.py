"""What a finished run leaves beside its checkpoints: ``result.json`` and the learning curves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from kdna_zoo.atomic import replaced_file
from kdna_zoo.records.formats import RESULT, RESULT_FORMAT
from kdna_zoo.training.logging.loggers import METRICS, read_rows
from kdna_zoo.training.logging.record import make_record
from kdna_zoo.training.logging.settings import settings_of


class RunSummary(Callback):
    """Write ``result.json`` and ``learning_curve.png`` at the end of a run, from its CSV file.

    Both cover the whole run, however often it was resumed.
    """

    def on_fit_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write both, on the first rank."""
        folder = Path(trainer.log_dir or "nowhere")  # asking for it is a broadcast
        if not trainer.is_global_zero or not (folder / METRICS).exists():
            return
        record = make_record(pl_module)
        parameters = sum(p.numel() for p in pl_module.model.parameters())
        rows, best = read_rows(folder / METRICS), max if pl_module.higher_is_better else min
        result = summarise(rows, record, parameters, pl_module.main_metric, best)
        result["checkpoints"] = sorted(
            path.name for path in folder.glob("checkpoints/*.ckpt") if path.name[0] != "."
        )
        with replaced_file(folder / RESULT) as fresh:
            fresh.write_text(json.dumps(result, indent=2) + "\n")
        from kdna_zoo.training.logging.plots import (
            draw_learning_curve,  # matplotlib is slow to import
        )

        curve = folder / "learning_curve.png"
        draw_learning_curve(folder / METRICS, curve, pl_module.main_metric)


def summarise(
    rows: list[dict[str, Any]],
    record: dict[str, Any],
    parameters: int,
    main_metric: str = "top1",
    best: Callable[..., Any] = max,
) -> dict[str, Any]:
    """Return the figures of a run.

    Args:
        rows: What was logged.
        record: The record of the run, as it goes into a checkpoint.
        parameters: How many the network has.
        main_metric: The metric that says which validation was the best.
        best: Chooses it: `max` or `min`.
    """
    run, data = record["run"], record["data"] or {}
    split = (data.get("val") or {}).get("split")
    measured = [_measured(row, split) for row in rows if f"val/{main_metric}" in row]
    return {
        "format": RESULT_FORMAT,
        "arch": record["arch"],
        "arch_args": record["arch_args"],
        "parameters": parameters,
        "data": data.get("name"),
        "final": measured[-1] if measured else None,
        "best": best(measured, key=lambda m: m[main_metric]) if measured else None,
        "epochs": run["epochs"],
        "steps": run["steps"],
        "seconds": run["seconds"],
        "images_per_second": run["images_per_second"],
        "seed": run["seed"],
        "hardware": run["hardware"],
        "devices": run["devices"],
        "batch_size": run["batch_size"],
        "accumulate": run["accumulate"],
        "versions": run["versions"],
        "git_commit": run["git_commit"],
        "command": run.get("command"),
        "settings": settings_of(run.get("recipe")),
    }


def _measured(row: dict[str, Any], split: str | None) -> dict[str, Any]:
    """One validation: after how many steps, on what, and its figures."""
    figures = {name[4:]: value for name, value in row.items() if name.startswith("val/")}
    images = {"images": int(figures.pop("images"))} if "images" in figures else {}
    if "top1" in figures:  # a classifier's, in this order
        figures = {name: figures.get(name) for name in ("top1", "top5", "loss")}
    return {"step": row["step"] + 1, "split": split, **images, **figures}
