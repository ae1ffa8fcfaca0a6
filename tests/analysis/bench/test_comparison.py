"""Measuring leaves what it found: torch's threads, the progress bars of `datasets`."""

from pathlib import Path

import datasets
import pytest
import torch

from kdna_zoo.analysis.bench.cases import BenchmarkCase, Setting
from kdna_zoo.analysis.bench.comparison import compare
from kdna_zoo.analysis.bench.loaders import LoaderSetting, compare_loaders
from kdna_zoo.analysis.bench.sample_images import make_images


def test_torch_has_as_many_threads_as_before() -> None:
    before = torch.get_num_threads()
    setting = Setting(batch_size=1, img_size=32, threads=before + 1)
    compare([BenchmarkCase("test_kdna_resnet", "eager")], setting, 1, memory=False, turn=0)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("hidden", [True, False])
def test_progress_bars_stay_as_they_were(hidden: bool, tmp_path: Path) -> None:
    before = datasets.are_progress_bars_disabled()
    make_images(tmp_path, 8)
    (datasets.disable_progress_bars if hidden else datasets.enable_progress_bars)()
    try:
        compare_loaders(tmp_path, LoaderSetting(4, 32, 0, 8), 1, lambda text: None)
        assert datasets.are_progress_bars_disabled() == hidden
    finally:
        (datasets.disable_progress_bars if before else datasets.enable_progress_bars)()
