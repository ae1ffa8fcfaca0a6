"""What README shows works as it stands: each Python block runs, each command parses."""

import json
import re
import shlex
import statistics
from pathlib import Path

import pytest
import timm

from kdna_zoo import cli
from kdna_zoo.analysis.accuracy import Accuracy, as_cells
from kdna_zoo.analysis.cka import Cka
from kdna_zoo.analysis.comparison import Comparison
from kdna_zoo.analysis.kinds import BENCH, CKA, COMPARE, LOADERS, kind_of
from kdna_zoo.commands._loaders import loader_cells
from kdna_zoo.commands.bench import cells
from kdna_zoo.models.weights import read_manifest
from kdna_zoo.sharing import SharingPlan
from kdna_zoo.training import command

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "docs" / "benchmarks"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


COMMANDS = [
    line
    for block in blocks("sh")
    for line in block.replace(" && ", "\n").splitlines()
    if line.startswith("kdna-zoo ")
]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``published`` is a published network, as README's commands leave it."""
    folder = tmp_path_factory.mktemp("readme")
    run = command.run(
        [
            "fit",
            "--model.arch=test_kdna_resnet",
            "--data.input_size=[3,28,28]",
            f"--trainer.default_root_dir={folder}",
            "--trainer.limit_train_batches=2",
            "--trainer.limit_val_batches=2",
            "--trainer.max_epochs=1",
            "--trainer.enable_progress_bar=false",
        ]
    )
    checkpoint = f"{run.trainer.log_dir}/checkpoints/last.ckpt"
    assert cli.main(["publish", checkpoint, "--to", str(folder / "published")]) == 0
    return folder


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code: str, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(published)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "model" in names


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = shlex.split(line)[1:]
    if arguments[0] not in cli.TRAINING:
        assert cli.make_parser().parse_args(arguments).run
        return
    if "--help" not in arguments:
        arguments.append("--print_config")
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 0
    assert "trainer" in capsys.readouterr().out


def test_there_are_blocks_and_commands() -> None:
    assert len(blocks("python")) >= 3
    assert len(COMMANDS) >= 6


def test_the_table_is_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    table = re.search(r"<!-- kdna-zoo models -->\n(.*?)<!-- end -->", README, re.DOTALL)
    assert table
    assert cli.main(["models"]) == 0
    assert capsys.readouterr().out == table[1], "run `kdna-zoo models` and paste its table"


def over_seeds(top1: dict[str, float]) -> str:
    values = [100 * value for value in top1.values()]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread} ({len(values)})"


def test_figures_are_those_of_the_weights() -> None:
    for name, weights in read_manifest().items():
        figures = json.loads((ROOT / "hub" / name / "metrics.json").read_text(encoding="utf-8"))
        assert weights.metrics is not None
        network = figures["seeds"] or {"top1": {"0": figures["metrics"]["top1"]}}
        row = (
            f"`{name}`",
            f"{100 * weights.metrics['top1']:.2f} %",
            over_seeds(network["top1"]),
            over_seeds(figures["control"]["top1"]) if figures["control"] else "not trained yet",
        )
        assert f"| {' | '.join(row)} |" in README


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("*.json")), ids=lambda path: path.stem)
def test_rows_of_measurements_are_those_of_the_files(file: Path) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    rows: list[tuple[str, ...]] = []
    kind = kind_of(data)
    if kind == BENCH:
        rows += [cells(result) for result in Comparison.from_dict(data).results]
    elif kind == LOADERS:
        rows += map(loader_cells, data["results"])
    elif kind == COMPARE:
        for accuracy in map(Accuracy.from_dict, data["networks"]):
            network, *others = as_cells(accuracy, data["reference"])
            rows.append((f"`{network}`", *others))
    else:
        assert kind == CKA  # figures in sentences, see below
        return
    assert rows
    for row in rows:
        assert f"| {' | '.join(row)} |" in README


def test_quoted_similarities_are_those_of_the_files() -> None:
    one, two = (
        Cka.from_dict(json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8")))
        for name in ("cka", "cka_against")
    )
    assert two.rows == two.columns == one.rows

    def between(child: str, parent: str) -> str:
        return f"{one.matrix[one.rows.index(child), one.rows.index(parent)]:.2f}"

    published = timm.create_model("kdna_resnet18").sharing_plan
    least, *_, most = sorted((between(s.child, s.parent), s.child, s.parent) for s in published)
    same = two.matrix.diagonal()
    last = two.rows[int(same.argmin())]
    text = " ".join(README.split())
    assert f"stay alike (mean CKA {same.mean():.2f})" in text
    assert f"(`{last}` {same.min():.2f})" in text
    neighbours = "layer4.1.conv1", "layer4.2.conv1"
    assert f"(`{neighbours[0]}` with `{neighbours[1]}`, {between(*neighbours)})" in text
    assert f"({least[0]} for `{least[1]}` with `{least[2]}` to {most[0]})" in text


def test_the_plan_that_was_trained_is_the_suggested_one() -> None:
    cka, accuracy = (
        json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("cka_plan", "accuracy_plans")
    )
    plans = [run["arch_args"]["plan"] for run in accuracy["runs"] if "plan" in run["arch_args"]]
    assert len(plans) == 3
    for plan in plans:
        assert SharingPlan.from_dict(plan) == SharingPlan.from_dict(cka["plan"])


def test_links_to_files_lead_somewhere() -> None:
    for page in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page):
            assert (ROOT / target).exists(), target
