"""Tables of figures are what `python -m docs.generate` makes of the measurements."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from docs import generate, summaries
from docs.tables import measured
from kdna_zoo.models.weights import read_manifest
from kdna_zoo.sharing import SharingPlan
from tests.docs.pages import ROOT


def test_regenerated_equals_committed(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_a_figure_changed_by_hand_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    block = "before\n<!-- generated: weights -->\nold\n<!-- end -->\nafter\n"
    page.write_text(block, encoding="utf-8")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "pages", lambda: [page])
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out == "out of date: page.md\n"
    assert page.read_text(encoding="utf-8") == block
    assert generate.main([]) == 0
    written = page.read_text(encoding="utf-8")
    assert "| `kdna_resnet18.fmnist` | 93.22 % | 93.24 ± 0.12 (3) | 93.11 ± 0.23 (3) |" in written
    assert written.startswith("before\n<!--")
    assert written.endswith("<!-- end -->\nafter\n")
    assert generate.main(["--check"]) == 0


def test_every_block_ends() -> None:
    for page in generate.pages():
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^<!-- generated: ", text, re.MULTILINE)) == len(
            generate.BLOCK.findall(text)
        )


def test_readme_has_short_tables() -> None:
    for table in (summaries.speed(), summaries.accuracy()):
        assert len(table.splitlines()) <= 2 + 6


def test_results_have_the_form_of_timms() -> None:
    rows = list(csv.DictReader(io.StringIO(summaries.results_csv())))
    assert {row["model"] for row in rows} == set(read_manifest())
    first = rows[0]
    assert list(first) == [
        *("model", "top1", "top1_err", "top5", "top5_err", "param_count", "img_size", "crop_pct"),
        "interpolation",
    ]
    assert first["model"] == "kdna_resnet18.fmnist"
    assert (first["top1"], first["top1_err"], first["param_count"]) == ("93.220", "6.780", "8.73")
    assert (first["img_size"], first["crop_pct"], first["interpolation"]) == (
        *("40", "1.000"),
        "bilinear",
    )


def test_the_manifest_has_the_figures_of_the_files() -> None:
    for name, weights in read_manifest().items():
        figures = json.loads((ROOT / "hub" / name / "metrics.json").read_text(encoding="utf-8"))
        assert weights.metrics is not None
        assert weights.metrics["top1"] == figures["metrics"]["top1"]


def test_the_plan_that_was_trained_is_the_suggested_one() -> None:
    cka, accuracy = measured("cka_plan.json"), measured("accuracy_plans.json")
    plans = [run["arch_args"]["plan"] for run in accuracy["runs"] if "plan" in run["arch_args"]]
    assert len(plans) == 3
    for plan in plans:
        assert SharingPlan.from_dict(plan) == SharingPlan.from_dict(cka["plan"])
