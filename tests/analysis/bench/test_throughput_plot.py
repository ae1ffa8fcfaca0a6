"""The picture of a benchmark shows each case and names each network."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from kdna_zoo.analysis.bench.cases import BenchmarkCase, Setting
from kdna_zoo.analysis.bench.comparison import Comparison, Result
from kdna_zoo.analysis.bench.plot import (
    COLOURS,
    draw_throughput,
    pareto_front,
    throughput_figure,
)
from kdna_zoo.analysis.bench.timing import Times
from tests.training.logging.test_plots import pixels_of


def comparison(points: dict[tuple[str, str], tuple[int, float]]) -> Comparison:
    results = [
        Result(BenchmarkCase(*key), count, Times((1 / speed,), 1), 1.0, speed, None, None)
        for key, (count, speed) in points.items()
    ]
    return Comparison(Setting(), tuple(results), ((0,),), {"hardware": "a processor"})


def test_each_form_has_its_colour(tmp_path: Path) -> None:
    points = {("net", form): (1_000_000 * (i + 1), 10.0) for i, form in enumerate("abc")}
    draw_throughput(comparison(points), tmp_path / "plot.png")
    inked = [pixels_of(tmp_path / "plot.png", colour) > 50 for colour in COLOURS]
    assert inked == [True, True, True, False, False]


def test_every_network_is_named_once_even_in_a_crowd(tmp_path: Path) -> None:
    names = [f"network_{i}" for i in range(12)]
    points = {
        (name, form): (10_000_000 + 1000 * i, 30.0 + i / 10)
        for i, name in enumerate(names)
        for form in ("eager", "fused")
    }
    draw_throughput(comparison(points), tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert [drawn.count(f"<!-- {name} -->") for name in names] == [1] * 12


def crowd(networks: int, seed: int) -> Comparison:
    """As many networks as there are, of 1 to 100 million parameters; the larger the slower."""
    random, points = np.random.default_rng(seed), {}
    for number in range(networks):
        millions = 10 ** random.uniform(0, 2)
        speed = 160 / millions**0.5 * 10 ** random.normal(0, 0.25)
        for form, factor in (("eager", 1.0), ("fused", 1.25)):
            points[f"kdna_network_{number}", form] = (int(1e6 * millions), factor * speed)
    return comparison(points)


@pytest.mark.parametrize(
    ("networks", "seed"),
    [(12, 0), (12, 1), pytest.param(85, 0, marks=pytest.mark.integration)],
)
def test_each_name_can_be_read(networks: int, seed: int) -> None:
    figure = throughput_figure(crowd(networks, seed))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    names = [text for text in axes.texts if text.get_text()]
    assert len({name.get_text() for name in names}) == len(names) == networks
    boxes = [name.get_window_extent() for name in names]
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.padded(-1).overlaps(b.padded(-1))]
    assert all(axes.bbox.count_contains(box.padded(-1).corners()) == 4 for box in boxes)


def test_the_same_measurement_gives_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_throughput(crowd(12, 0), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_far_values_get_logarithmic_axes(tmp_path: Path) -> None:
    points = {("small", "eager"): (1_000_000, 500.0), ("large", "eager"): (50_000_000, 5.0)}
    draw_throughput(comparison(points), tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {tick} -->" in drawn for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500))


def test_points_near_each_other_lie_inside(tmp_path: Path) -> None:
    """Whole markers, also the highest and the one furthest to the right; one is the legend's."""
    points = {("a", "eager"): (17_600_000, 24.3), ("b", "eager"): (18_100_000, 22.7)}
    draw_throughput(comparison(points), tmp_path / "plot.png")
    both = pixels_of(tmp_path / "plot.png", COLOURS[0])
    points["c", "eager"] = (9_000_000, 12.0)
    draw_throughput(comparison(points), tmp_path / "plot.png")
    assert both * 4 / 3 == pytest.approx(pixels_of(tmp_path / "plot.png", COLOURS[0]), rel=0.05)


def test_the_front_is_what_none_beats_in_both(tmp_path: Path) -> None:
    beaten = [(9.0, 30.0), (10.0, 40.0), (12.0, 40.0), (20.0, 45.0)]
    front = [(8.0, 30.0), (10.0, 41.0), (18.0, 50.0)]
    assert pareto_front([*beaten, *front]) == front
    points = {("a", "eager"): (8_000_000, 30.0), ("b", "eager"): (18_000_000, 50.0)}
    draw_throughput(comparison(points), tmp_path / "plot.svg")
    assert "<!-- Pareto front -->" in (tmp_path / "plot.svg").read_text(encoding="utf-8")


def test_one_that_beats_all_others_needs_no_front(tmp_path: Path) -> None:
    points = {("a", "eager"): (8_000_000, 50.0), ("b", "eager"): (18_000_000, 30.0)}
    draw_throughput(comparison(points), tmp_path / "plot.svg")
    assert "Pareto" not in (tmp_path / "plot.svg").read_text(encoding="utf-8")
