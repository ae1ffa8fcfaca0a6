"""``kdna-zoo report``: one page that holds all in itself, with the figures of its files."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from kdna_zoo.analysis.bench.comparison import Comparison
from kdna_zoo.analysis.cka.cka import Cka
from kdna_zoo.cli.app import main
from kdna_zoo.records.formats import BENCH, kind_of

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks"
RUN: dict[str, Any] = {
    "arch": "a_net",
    "arch_args": {},
    "seed": 0,
    "seconds": 61.4,
    "hardware": "a processor",
    "git_commit": "0123456789abcdef",
    "command": "kdna-zoo fit --model.arch <b>",
    "final": {"top1": 0.9},
}
NETWORK: dict[str, Any] = {
    "network": "a_net",
    "parameters": 1234567,
    "top1": {"0": 0.9, "1": 0.92},
    "difference": None,
}
OTHER = {**NETWORK, "network": "b_net", "top1": {"0": 0.91, "1": 0.95}}
DIFFERENCE = {"seeds": [0, 1], "mean": 0.02, "margin": 0.1271, "p": 0.295}
ACCURACY = {
    "command": "kdna-zoo compare runs --json",
    "format": "kdna-zoo compare",
    "version": 1,
    "reference": "a_net",
    "setting": {"data": "Fashion-MNIST", "epochs": 15},
    "differing_settings": {"model.optimizer.lr": [0.1, 0.2]},
    "networks": [NETWORK, {**OTHER, "difference": DIFFERENCE}],
    "runs": [RUN],
}


class Page(HTMLParser):
    """Collects the cells, pictures and text, and whatever would load something."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.pictures: list[str] = []
        self.tags: set[str] = set()
        self.reading = False
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        if tag == "img":
            self.pictures.append(given["src"] or "")
            assert given["alt"]
        self.reading = tag == "td"
        if self.reading:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.reading = False

    def handle_data(self, data: str) -> None:
        if self.reading:
            self.cells[-1] += data


def report(tmp_path: Path, *files: Path) -> Page:
    assert main(["report", *map(str, files), "--to", str(tmp_path / "r.html")]) == 0
    return Page(tmp_path / "r.html")


def drawn(picture: str) -> str:
    head, _, body = picture.partition(",")
    assert head == "data:image/svg+xml;base64", "nothing is fetched"
    return base64.b64decode(body).decode()


def test_a_benchmark(tmp_path: Path) -> None:
    file = BENCHMARKS / "inference.json"
    data = json.loads(file.read_text())
    page = report(tmp_path, file)
    for result in data["results"]:
        row = page.cells.index(result["network"])
        assert f"{result['parameters']:,}" in page.cells[row:]
        assert f"{result['images_per_second']:,.1f}" in page.cells
    (picture,) = page.pictures
    assert f"<!-- {data['results'][0]['network']} -->" in drawn(picture)
    text = (tmp_path / "r.html").read_text()
    assert data["command"] in text
    assert data["hardware"] in text
    assert not page.tags & {"script", "link", "iframe"}
    assert not re.search(r"https?://", re.sub(r"base64,[^\"]+", "", text))


def test_what_a_benchmark_wrote_is_read_back() -> None:
    files = [json.loads(file.read_text()) for file in BENCHMARKS.glob("*.json")]
    networks = [data for data in files if kind_of(data) == BENCH]
    assert networks
    for data in networks:
        again = Comparison.from_dict(data).to_dict()
        assert again == {key: value for key, value in data.items() if key != "command"}


def test_loaders(tmp_path: Path) -> None:
    file = BENCHMARKS / "loading.json"
    page = report(tmp_path, file)
    rows = [
        cell
        for found in json.loads(file.read_text())["results"]
        for cell in (
            found["loader"],
            f"{found['images_per_second']['median']:,.1f}",
            f"{found['ratio']:.2f}",
        )
    ]
    assert page.cells == rows


def test_accuracies(tmp_path: Path) -> None:
    file = tmp_path / "accuracy.json"
    file.write_text(json.dumps(ACCURACY))
    page = report(tmp_path, file)
    rows = ["a_net", "1,234,567", "0, 1 (2)", "91.00 ± 1.41", "", ""]
    rows += ["b_net", "1,234,567", "0, 1 (2)", "93.00 ± 2.83", "+2.00 ± 12.71", "0.295"]
    assert page.cells[: len(rows)] == rows
    assert "kdna-zoo fit --model.arch <b>" in page.cells, "escaped, so shown as it is"
    assert "0123456789ab" in page.cells
    assert "not one recipe: model.optimizer.lr is 0.1 and 0.2" in (tmp_path / "r.html").read_text()
    assert [f"<!-- {name} -->" in drawn(page.pictures[0]) for name in ("a_net", "b_net")]


def test_layers_that_are_alike(tmp_path: Path) -> None:
    matrix = torch.eye(3, dtype=torch.float64)
    cka = Cka(("a_net", "b_net"), ("x", "y", "z"), ("u", "v", "w"), matrix, 64, 32)
    file = tmp_path / "cka.json"
    made = {"command": "kdna-zoo cka a_net", "hardware": "a processor", "versions": {"torch": "2"}}
    file.write_text(json.dumps({**cka.to_dict(), **made}))
    page = report(tmp_path, file)
    assert "Linear CKA, a_net against b_net" in drawn(page.pictures[0])
    text = (tmp_path / "r.html").read_text()
    assert "64 images, batches of 32" in text
    assert "kdna-zoo cka a_net" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read: Expecting property name"),
        ("[]", "is no file that a report shows: it takes those of `kdna-zoo bench --json FILE`"),
        ('{"format": "kdna-zoo fit"}', "is no file that a report shows"),
        (json.dumps({**ACCURACY, "version": 2}), "x.json is of version 2, and this .* version 1"),
        (json.dumps({**ACCURACY, "runs": [{}]}), "is damaged or of another version .*'arch'"),
        (json.dumps({**ACCURACY, "setting": []}), "is damaged or of another version .*items"),
    ],
)
def test_files_that_show_nothing(
    tmp_path: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    assert main(["report", str(file), "--to", str(tmp_path / "r.html")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "r.html").exists()
