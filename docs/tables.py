"""The tables of figures, each made from JSON: of docs/benchmarks, of hub/, or of a command."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch

from kdna_zoo import cli
from kdna_zoo.analysis.bench.comparison import Comparison
from kdna_zoo.analysis.cka.cka import Cka
from kdna_zoo.cli._loader_bench import COLUMNS as LOADER_COLUMNS
from kdna_zoo.cli._loader_bench import loader_cells
from kdna_zoo.cli._output import print_table
from kdna_zoo.cli.bench import COLUMNS as BENCH_COLUMNS
from kdna_zoo.cli.bench import TEXT as BENCH_TEXT
from kdna_zoo.cli.bench import cells
from kdna_zoo.sharing import CONTROLS

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"


def measured(file: str) -> dict[str, Any]:
    """Read a file of docs/benchmarks."""
    data: dict[str, Any] = json.loads((BENCHMARKS / file).read_text(encoding="utf-8"))
    return data


def bench(*files: str) -> str:
    """Show runs of `kdna-zoo bench`, one below the other: commands, table, what it holds for."""
    runs = [measured(file) for file in files]
    comparisons = [Comparison.from_dict(run) for run in runs]
    rows = [cells(result) for found in comparisons for result in found.results]
    about = [
        f"{found.setting}; medians (quartiles) of {len(found.order)} interleaved rounds. "
        + _machine(run)
        for found, run in zip(comparisons, runs, strict=True)
    ]
    table = markdown_table(BENCH_COLUMNS, rows, BENCH_TEXT)
    return _section(map(_command, runs), table, dict.fromkeys(about))


def loaders(file: str) -> str:
    """Show a run of `kdna-zoo bench --data`."""
    run = measured(file)
    table = markdown_table(LOADER_COLUMNS, map(loader_cells, run["results"]), LOADER_COLUMNS[:1])
    about = (
        f"Batches of {run['batch_size']} of {run['images']} images, {run['workers']} workers; "
        f"medians of {len(run['order'])} interleaved rounds, an epoch each. {_machine(run)}"
    )
    return _section([_command(run)], table, [about])


def compare(file: str) -> str:
    """Show accuracies over seeds, as `kdna-zoo compare` prints a file of them again."""
    printed = _printed("compare", str(BENCHMARKS / file), "--markdown")
    table, _, about = printed.partition("\n\n")
    line = f"kdna-zoo compare docs/benchmarks/{file} --markdown"
    return _section([line], table, ["; ".join(about.splitlines())])


@cache
def models() -> str:
    """Return the table of `kdna-zoo models`."""
    return _printed("models", "--markdown")


def networks() -> str:
    """List the networks in short: of the columns of `kdna-zoo models` four."""
    columns, _, *rows = [line.strip("| ").split(" | ") for line in models().splitlines()]
    shown = ("name", "parameters", "timm base", "weights")
    short = [[row[columns.index(title)] for title in shown] for row in rows]
    return markdown_table(shown, short, (shown[0], *shown[2:]))


def ablation(network: str) -> str:
    """List the controls of the ablation and the parameters of each."""
    parts = {
        "own": ("each layer's own", "none"),
        "own_channel": ("each layer's own", "channel attention"),
        "shared": ("shared", "none"),
        "shared_channel": ("shared", "channel attention"),
        "shared_static": ("shared", "static modulation"),
        "full": ("shared", "both: the published network"),
        "parents_first": ("shared, children after their parent", "both"),
    }
    rows = [
        (f"`{control}`", *parts[control], f"{count_parameters(network, ablation=control):,}")
        for control in CONTROLS
    ]
    columns = ("`ablation`", "kernels", "adapter", f"parameters of `{network}`")
    return markdown_table(columns, rows, columns[:3])


def cka(control: str, against: str) -> str:
    """Show what the text of docs/cka.md compares, from the two matrices."""
    one, two = (Cka.from_dict(measured(file)) for file in (control, against))

    def between(first: str, second: str) -> float:
        return float(one.matrix[one.rows.index(first), one.rows.index(second)])

    same = two.matrix.diagonal()
    plan: Any = timm.create_model("kdna_resnet18").sharing_plan
    published = sorted((between(s.child, s.parent), s.child, s.parent) for s in plan)
    suggested = "layer4.1.conv1", "layer4.2.conv1"
    (low, *least), (high, *most) = published[0], published[-1]
    rows = [
        ("the same layer in both networks, mean", f"{same.mean():.2f}"),
        (f"the same, least: `{two.rows[int(same.argmin())]}`", f"{same.min():.2f}"),
        (f"control: {_pair(suggested)}, as suggested", f"{between(*suggested):.2f}"),
        (f"control: {_pair(least)}, least of the published plan", f"{low:.2f}"),
        (f"control: {_pair(most)}, most of the published plan", f"{high:.2f}"),
    ]
    return markdown_table(("layers", "CKA"), rows, ("layers",))


def _printed(*arguments: str) -> str:
    text = io.StringIO()
    with redirect_stdout(text):
        code = cli.main(arguments)
    assert code == 0, arguments
    return text.getvalue().strip()


def markdown_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[str]
) -> str:
    """Write a table; `text` are the titles of the columns that hold no numbers."""
    out = io.StringIO()
    with redirect_stdout(out):
        print_table(columns, rows, text, markdown=True)
    return out.getvalue().strip()


def _section(commands: Iterable[str], table: str, about: Iterable[str]) -> str:
    lines = "\n".join(["```sh", *commands, "```"])
    return "\n\n".join([lines, table, *(f"*{line}*" for line in about)])


def _command(run: Mapping[str, Any]) -> str:
    return str(run["command"]).removesuffix(" --markdown")


def _machine(run: Mapping[str, Any]) -> str:
    return f"{run['hardware']}; {', '.join(f'{k} {v}' for k, v in run['versions'].items())}."


def _pair(layers: Sequence[str]) -> str:
    return " with ".join(f"`{layer}`" for layer in layers)


def count_parameters(network: str, **arguments: Any) -> int:
    """Count the parameters of a network of timm; nothing is computed."""
    with torch.device("meta"):
        model = timm.create_model(network, **arguments)
    return sum(parameter.numel() for parameter in model.parameters())
