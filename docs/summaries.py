"""Figures of several files side by side: the tables of README.md, and results.csv."""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.tables import count_parameters, markdown_table, measured

HUB = Path(__file__).resolve().parent.parent / "hub"
CSV_COLUMNS = (
    *("model", "top1", "top1_err", "top5", "top5_err", "param_count", "img_size", "crop_pct"),
    "interpolation",
)


def released() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return metrics.json and config.json of each published tag."""
    return {
        folder.name: (_read(folder / "metrics.json"), _read(folder / "config.json"))
        for folder in sorted(HUB.iterdir())
        if folder.is_dir()
    }


def weights() -> str:
    """Show top-1 of each published tag, and of its recipe and control over seeds."""
    rows = []
    for tag, (figures, _) in released().items():
        found = figures["metrics"]["top1"]
        network = figures["seeds"] or {"top1": {"0": found}}
        control = figures["control"]
        rows.append(
            (
                f"`{tag}`",
                f"{100 * found:.2f} %",
                _over_seeds(network["top1"]),
                _over_seeds(control["top1"]) if control else "not trained yet",
            )
        )
    return markdown_table(("tag", "the files", "network", "control"), rows, ("tag",))


def speed() -> str:
    """Show the time of a step beside that of the control of equal depth."""
    rooms = {
        "CPU, inference": "peers.json",
        "CPU, training": "peers_train.json",
        "GPU, inference": "gpu_infer_128.json",
        "GPU, training": "gpu_train_128.json",
    }
    names = {
        "own:kdna_resnet18": "control: own kernels, equal depth",
        "kdna_resnet18": "**`kdna_resnet18`**",
        "resnet18": "`resnet18`, less deep",
        "dyconv_resnet18": "DY-Conv",
        "odconv_resnet18": "ODConv",
        "kw_resnet18": "KernelWarehouse",
    }
    runs = {title: measured(file)["results"] for title, file in rooms.items()}
    trained = {row["network"]: row["parameters"] for row in runs["CPU, training"]}
    control = next(iter(names))
    rows = []
    for name, title in names.items():
        ratios = (_fastest(run, name) / _fastest(run, control) for run in runs.values())
        rows.append((title, f"{trained[name] / 1e6:.1f} M", *(f"{r:.2f}" for r in ratios)))
    return markdown_table(("network", "parameters", *rooms), rows, ("network",))


def accuracy() -> str:
    """Show top-1 of the kinds of kernels in the families that were trained."""
    resnet, slow, mobilenet = (
        {row["network"]: row for row in measured(f"accuracy_{name}.json")["networks"]}
        for name in ("resnet18", "resnet18_published", "mobilenetv2_050")
    )
    own, full = "kdna_{} (ablation=own{})", "kdna_{} (ablation=full{})"
    start = ", fix_group_fanout=False"
    families = (
        (resnet | slow, "resnet18", "", ("condconv", "dyconv", "odconv", "kw")),
        (mobilenet, "mobilenetv2_050", "", ("condconv", "dyconv")),
        (mobilenet, "mobilenetv2_050", start, ("odconv", "kw")),
    )
    columns = []
    for found, network, option, peers in families:
        names = [own.format(network, option), full.format(network, option)]
        names += [f"{peer}_{network}" for peer in peers]
        kinds = ["own", "full", *peers]
        columns.append({kind: found[name] for kind, name in zip(kinds, names, strict=True)})
    titles = {
        "own": "control: own kernels",
        "full": "**KernelDNA**",
        "condconv": "CondConv",
        "dyconv": "DY-Conv",
        "odconv": "ODConv",
        "kw": "KernelWarehouse",
    }
    rows = [
        (
            title,
            f"{columns[0][kind]['parameters'] / 1e6:.2f} M",
            *(_mean(column[kind]) if kind in column else "" for column in columns),
        )
        for kind, title in titles.items()
    ]
    heads = ("ResNet-18, 1/4 wide", "MobileNetV2 0.5x", "the same, smaller start")
    return markdown_table(("kernels", "parameters", *heads), rows, ("kernels",))


def results_csv() -> str:
    """Return the published tags' accuracies, in the form of timm's results files, best first."""
    rows: list[tuple[str, ...]] = []
    for tag, (figures, config) in released().items():
        top1, top5 = (100 * figures["metrics"][name] for name in ("top1", "top5"))
        data = config["pretrained_cfg"]
        arguments = {**config["model_args"], "num_classes": config["num_classes"]}
        count = count_parameters(config["architecture"], **arguments)
        errors = (f"{value:.3f}" for value in (top1, 100 - top1, top5, 100 - top5))
        size, crop = str(data["input_size"][-1]), f"{data['crop_pct']:.3f}"
        rows.append((tag, *errors, f"{count / 1e6:.2f}", size, crop, data["interpolation"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    rows.sort(key=lambda row: -float(row[1]))
    writer.writerows(rows)
    return text.getvalue()


def _fastest(results: Sequence[Mapping[str, Any]], network: str) -> float:
    found = [row for row in results if row["network"] == network]
    return min(float(row["seconds_per_step"]["median"]) for row in found)


def _mean(row: Mapping[str, Any]) -> str:
    return f"{100 * row['mean']:.2f} ± {100 * row['deviation']:.2f}"


def _over_seeds(top1: Mapping[str, float]) -> str:
    values = [100 * value for value in top1.values()]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread} ({len(values)})"


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data
