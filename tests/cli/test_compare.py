"""``kdna-zoo compare`` over real, tiny runs, and over what cannot be compared."""

import json
import re
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from kdna_zoo.cli.app import main
from tests.training.support import fit

pytestmark = pytest.mark.integration

NETWORKS = ("resnet10t", "test_kdna_resnet")
SHORT = (
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=2",
    "--trainer.logger=null",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks with two seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    for network in NETWORKS:
        for seed in (0, 1):
            arguments = ["--model.arch_args={drop_path_rate: 0.1}"] if "kdna" in network else []
            options = (f"--model.arch={network}", f"--seed_everything={seed}", *arguments)
            fit(folder / network / str(seed), *SHORT, *options)
    return folder


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    return shutil.copytree(runs, tmp_path / "runs")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["compare", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.rglob("result.json")):
        result = json.loads(file.read_text())
        found.setdefault(result["arch"], []).append(result)
    return found


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_figures_are_those_of_the_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads(printed(capsys, runs, "--json"))
    base, ours = said["networks"]
    assert (base["network"], ours["network"]) == (
        NETWORKS[0],
        f"{NETWORKS[1]} (drop_path_rate=0.1)",
    )
    measured = {
        arch: [run["final"]["top1"] for run in found] for arch, found in results(runs).items()
    }
    for row, arch in ((base, NETWORKS[0]), (ours, NETWORKS[1])):
        assert list(row["top1"].values()) == measured[arch]
        assert row["mean"] == statistics.mean(measured[arch])
        assert row["deviation"] == statistics.stdev(measured[arch])
        assert row["parameters"] == results(runs)[arch][0]["parameters"] > 1000
    assert base["difference"] is None
    assert ours["difference"]["mean"] == pytest.approx(ours["mean"] - base["mean"])
    assert len(said["runs"]) == 4
    assert said["setting"]["effective batch"] == 64


def test_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{NETWORKS[1]} (drop_path_rate=0.1)"
    lines = printed(capsys, runs / NETWORKS[0], runs / NETWORKS[1], "--reference", name)
    rows = [line.split(" | ") for line in lines.splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows] == [f"| `{NETWORKS[0]}`", f"| `{name}`"]
    assert rows[0][2] == rows[1][2] == "0, 1 (2)"
    assert " ± " in rows[0][4]
    assert rows[1][4] == ""
    assert "data Fashion-MNIST sample, split test" in lines


def test_its_own_file_stands_for_the_runs(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = f"{NETWORKS[1]} (drop_path_rate=0.1)"
    written = printed(capsys, runs, "--json", "--reference", ours)
    (tmp_path / "accuracy.json").write_text(written)
    again = json.loads(printed(capsys, tmp_path / "accuracy.json", "--json"))
    assert again["reference"] == f"{NETWORKS[1]} (drop_path_rate=0.1)"
    assert again["networks"] == json.loads(written)["networks"]
    assert again["runs"] == json.loads(written)["runs"]


def test_arguments_of_all_runs_are_said_once(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in copied.rglob("result.json"):
        arguments = json.loads(file.read_text())["arch_args"]
        edit(file, arch_args={**arguments, "stem_width": 8, "channels": [8, 16]})
    said = json.loads(printed(capsys, copied, "--json"))
    names = [row["network"] for row in said["networks"]]
    assert names == [NETWORKS[0], f"{NETWORKS[1]} (drop_path_rate=0.1)"]
    assert said["setting"]["arguments"] == "channels=[8, 16], stem_width=8"
    assert "arguments channels=[8, 16], stem_width=8" in printed(capsys, copied)


def test_says_where_the_recipes_differ(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Not one recipe" not in printed(capsys, copied)
    assert json.loads(printed(capsys, copied, "--json"))["differing_settings"] == {}
    file = next((copied / NETWORKS[0] / "1").rglob("result.json"))
    settings = json.loads(file.read_text())["settings"]
    rate = settings["model.optimizer.lr"]
    edit(file, settings={**settings, "model.optimizer.lr": 7, "trainer.gradient_clip_val": 1})
    said = printed(capsys, copied)
    assert f"Not one recipe: model.optimizer.lr is {rate} and 7\n" in said
    assert "Not one recipe: trainer.gradient_clip_val is None and 1\n" in said
    edit(file, settings=None)
    said = printed(capsys, copied)
    assert "Not one recipe" not in said
    assert "1 of 4 runs do not say their recipe" in said


def test_a_plan_is_named_by_its_digest(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, child in (("0", "layer4.0.conv2"), ("1", "layer4.0.conv1")):
        file = next((copied / NETWORKS[1] / seed).rglob("result.json"))
        edit(file, arch_args={"plan": {"shares": [{"child": child, "parent": "layer4.1.conv2"}]}})
    lines = printed(capsys, copied)
    found = re.findall(rf"`{NETWORKS[1]} \(plan=([0-9a-f]{{6}})\)`", lines)
    assert len(set(found)) == 2
    said = re.findall(
        r"^plan=(\w+) is 1 child: (layer4\.0\.conv[12]) <- layer4.1.conv2 \(r=4\)$", lines, re.M
    )
    assert {digest for digest, _ in said} == set(found)
    assert {child for _, child in said} == {"layer4.0.conv1", "layer4.0.conv2"}
    for seed, more in (("0", {"norm": "batch"}), ("1", {})):  # a default, written out or not
        file = next((copied / NETWORKS[1] / seed).rglob("result.json"))
        share = {"child": "layer4.0.conv2", "parent": "layer4.1.conv2"}
        edit(file, arch_args={"plan": {"shares": [share], **more}})
    assert printed(capsys, copied).count("(plan=") == 1, "one row"


def test_plot(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, runs, "--plot", tmp_path / "accuracy.svg")
    drawn = (tmp_path / "accuracy.svg").read_text(encoding="utf-8")
    assert f"<!-- {NETWORKS[0]} -->" in drawn
    assert f"<!-- {NETWORKS[1]} (drop_path_rate=0.1) -->" in drawn
    assert main(["compare", str(runs), "--plot", "accuracy.txt"]) == 2
    assert "accuracy.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": 0}, r"two runs of resnet10t have the seed 0, one of them in .*result\.json"),
        ({"epochs": 7}, r"cannot be compared: epochs is 1\.0 in .* and 7 in "),
        ({"batch_size": 7}, r"effective batch is 64 in .* and 7 in "),
        ({"format": 9}, r"has format 9 or comes from an older kdna-zoo; this one reads format 1"),
        ({"final": None}, "no accuracy at its end or no seed: let it validate"),
        ({"steps": 9}, "no accuracy at its end or no seed: let it validate"),
        ({"arch_args": None}, r"is damaged \(TypeError"),
        ({"arch_args": []}, r"is damaged \(TypeError"),
        ({"format": "kdna-zoo compare", "version": 1, "runs": []}, "is a comparison of no runs"),
        ({"format": "kdna-zoo compare"}, r"result\.json is of version None, and this .* version 1"),
    ],
)
def test_what_cannot_be_compared(
    copied: Path, values: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(next((copied / NETWORKS[0] / "1").rglob("result.json")), **values)
    assert main(["compare", str(copied)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error


def test_mistakes(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(runs), "--reference", "resnet10"]) == 2
    assert "no run is of resnet10; did you mean resnet10t" in capsys.readouterr().err
    assert main(["compare", str(tmp_path)]) == 2
    assert "there is no result.json in" in capsys.readouterr().err
