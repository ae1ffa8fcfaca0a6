"""One HTML page from the JSON files of benchmarks, accuracies and layer similarities.

The page holds everything in itself: pictures are drawn anew from the figures and lie in it as SVG,
and there is no script. Each section names its file, the command that made it, and the machine.
"""

import base64
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kdna_zoo.analysis.accuracy.accuracy import COLUMNS, Accuracy, as_cells, caveat
from kdna_zoo.analysis.accuracy.runs import in_brackets
from kdna_zoo.analysis.bench.comparison import Comparison
from kdna_zoo.analysis.cka.cka import Cka
from kdna_zoo.errors import UserError
from kdna_zoo.records.formats import BENCH, CKA, COMPARE, CONVERT, LOADERS, check_version, kind_of

TEMPLATE = Path(__file__).with_name("report.html.jinja")
Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # titles, and rows of cells


@dataclass(frozen=True)
class Section:
    """What one file shows.

    Attributes:
        title: Its heading.
        source: Name of the file.
        command: What wrote the file; None: it does not say.
        notes: Lines about how it was measured.
        tables: Titles and rows; the first column is text, the others numbers.
        pictures: Images as data URLs, each with its description.
    """

    title: str
    source: str
    command: str | None
    notes: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[tuple[str, str]] = field(default=())


def make_report(files: Sequence[Path], title: str) -> str:
    """Make the page.

    Args:
        files: JSON files of ``kdna-zoo bench``, ``compare`` and ``cka``.
        title: Its heading.

    Raises:
        UserError: If a file is none of these, or of another version.
    """
    sections = [make_section(file) for file in files]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(TEMPLATE.name).render(title=title, sections=sections)


def make_section(file: Path) -> Section:
    """Read a file and show what it holds.

    Raises:
        UserError: If it cannot be read, or this version does not know it.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    kind = kind_of(data)
    if kind is None:
        raise UserError(
            f"{file} is no file that a report shows: it takes those of `kdna-zoo bench --json"
            " FILE`, `kdna-zoo cka` and `kdna-zoo compare RUN ... --json`"
        )
    check_version(data, str(file))
    try:
        return KINDS[kind](data, file)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} is damaged or of another version of kdna-zoo ({type(error).__name__}: {error})"
        ) from error


def _bench(data: Mapping[str, Any], file: Path) -> Section:
    from kdna_zoo.analysis.bench.plot import draw_throughput

    comparison = Comparison.from_dict(data)
    titles = ("network", "form", "parameters", "images/s", "ratio", "ms a step", "peak MiB")
    rows = [
        (
            result.case.network,
            result.case.form,
            f"{result.parameters:,}",
            f"{result.images_per_second:,.1f}",
            f"{1 / result.time_ratio:.2f}",
            f"{1000 * result.times.median:.1f}",
            f"{result.peak_memory / 2**20:,.1f}" if result.peak_memory else "",
        )
        for result in comparison.results
    ]
    rounds = f"medians of {len(comparison.order)} interleaved rounds; ratios of images a second"
    networks = dict.fromkeys(result.case.network for result in comparison.results)
    title = f"{comparison.setting}: {', '.join(networks)}"
    picture = _drawn(lambda to: draw_throughput(comparison, to))
    return Section(
        title,
        file.name,
        data.get("command"),
        (f"{rounds} to the first line", _machine(data)),
        [(titles, rows)],
        [(picture, f"parameters against images a second: {title}")],
    )


def _loaders(data: Mapping[str, Any], file: Path) -> Section:
    rows = [
        (
            found["loader"],
            f"{found['images_per_second']['median']:,.1f}",
            f"{found['ratio']:.2f}",
        )
        for found in data["results"]
    ]
    what = f"{data['images']} JPEG files, batch {data['batch_size']}, {data['workers']} workers"
    rounds = f"medians of {len(data['order'])} interleaved rounds, an epoch each"
    return Section(
        f"Loading: {what}",
        file.name,
        data.get("command"),
        (rounds, _machine(data)),
        [(("loader", "images/s", "ratio"), rows)],
    )


def _accuracy(data: Mapping[str, Any], file: Path) -> Section:
    from kdna_zoo.analysis.accuracy.plot import draw_accuracy

    rows = [Accuracy.from_dict(row) for row in data["networks"]]
    setting = ", ".join(f"{key} {value}" for key, value in data["setting"].items())
    runs = [
        (
            run["arch"] + in_brackets(run["arch_args"] or {}),
            str(run["seed"]),
            f"{100 * run['final']['top1']:.2f}",
            f"{run['seconds']:,.0f}",
            run["hardware"],
            (run["git_commit"] or "")[:12],
            run["command"] or "",
        )
        for run in data["runs"]
    ]
    listed = ("run", "seed", "top-1 %", "seconds", "hardware", "commit", "command")
    note = (
        f"mean ± standard deviation over the seeds; difference to {data['reference']}, paired by"
        f" seed, with its 95 % confidence interval; {caveat(len(rows) - 1)}"
    )
    unlike = [
        f"not one recipe: {key} is {' and '.join(map(str, values))}"
        for key, values in data.get("differing_settings", {}).items()
    ]
    if data.get("runs_without_settings"):
        unlike.append(f"{data['runs_without_settings']} runs do not say their recipe")
    return Section(
        f"Accuracy: {setting}",
        file.name,
        data.get("command"),
        (note, *data.get("plans", ()), *unlike),
        [(COLUMNS, [as_cells(row, data["reference"]) for row in rows]), (listed, runs)],
        [(_drawn(lambda to: draw_accuracy(rows, to)), "top-1 of each run by network")],
    )


def _cka(data: Mapping[str, Any], file: Path) -> Section:
    from kdna_zoo.analysis.cka.plot import draw_cka

    cka = Cka.from_dict(data, str(file))
    title = f"Linear CKA: {' against '.join(dict.fromkeys(cka.networks))}"
    return Section(
        title,
        file.name,
        data.get("command"),
        (
            f"{cka.images:,} images, batches of {cka.batch_size}",
            *cka.about.splitlines(),
            _machine(data),
        ),
        [],
        [(_drawn(lambda to: draw_cka(cka, to)), f"the grid of layers: {title}")],
    )


def _machine(data: Mapping[str, Any]) -> str:
    return f"{data['hardware']}; {', '.join(f'{k} {v}' for k, v in data['versions'].items())}"


def _drawn(draw: Callable[[Path], None]) -> str:
    """Draw into a file and return the picture as a data URL."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "picture.svg")
        draw(file)
        return f"data:image/svg+xml;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _convert(data: Mapping[str, Any], file: Path) -> Section:
    from kdna_zoo.analysis.conversion_plot import draw_conversion

    steps = [
        (
            step["name"],
            "" if step["error"] is None else f"{step['error']:.3g}",
            "" if step["top1"] is None else f"{100 * step['top1']:.2f}",
            step["note"] if step["done"] else f"left out: {step['note']}",
        )
        for step in data["steps"]
    ]
    layers = [
        (
            layer["path"],
            "" if layer["path"] == layer["parent"] else layer["parent"],
            f"{layer['saved']:,}",
            f"{list(layer['errors'].values())[-1]:.3f}" if layer["errors"] else "free",
        )
        for layer in data["layers"]
    ]
    measured = f"accuracy on {data['evaluated']:,} images; " if data["evaluated"] else ""
    return Section(
        f"Conversion: {data['source']['name']} to {data['arch']}",
        file.name,
        data.get("command"),
        (f"{data['images']:,} calibration images; {measured}seed {data['seed']}", _machine(data)),
        [
            (("step", "output error", "top-1 %", "what was done"), steps),
            (("layer", "kernel of", "parameters saved", "output error"), layers),
        ],
        [(_drawn(lambda to: draw_conversion(data, to)), "accuracy by step, error by layer")],
    )


KINDS: dict[str, Callable[[Mapping[str, Any], Path], Section]] = {
    BENCH: _bench,
    LOADERS: _loaders,
    COMPARE: _accuracy,
    CKA: _cka,
    CONVERT: _convert,
}
