"""Peak memory of a step on the CPU, each in a process of its own."""

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from kdna_zoo.analysis.bench.cases import BenchmarkCase, Setting
from kdna_zoo.analysis.bench.memory import peak_on_cpu
from kdna_zoo.errors import RunError


@pytest.fixture(scope="module")
def peaks() -> Iterator[dict[str, Future[int]]]:
    """The measurements of all tests here, made at once: each has to import torch."""
    wanted = {
        "batch 8": (BenchmarkCase("test_kdna_resnet", "eager"), Setting("train", 8, 64)),
        "batch 136": (BenchmarkCase("test_kdna_resnet", "eager"), Setting("train", 136, 64)),
        "unknown": (BenchmarkCase("nothing", "eager"), Setting()),
    }
    with ThreadPoolExecutor() as pool:
        yield {name: pool.submit(peak_on_cpu, *args) for name, args in wanted.items()}


@pytest.mark.integration
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss holds the building too")
def test_the_peak_grows_by_what_a_larger_batch_needs(peaks: dict[str, Future[int]]) -> None:
    growth = peaks["batch 136"].result() - peaks["batch 8"].result()
    # The least that another image needs is its own and the stem's output, kept by the training
    # step for the convolution, the norm and the activation: (3, 64, 64) and three of (64, 32, 32).
    image = 4 * (3 * 64 * 64 + 3 * 64 * 32 * 32)
    assert 128 * image < growth < 2 * 128 * image


@pytest.mark.integration
def test_what_the_process_said_last_is_told(peaks: dict[str, Future[int]]) -> None:
    with pytest.raises(RunError, match=r"memory of nothing eager: .*Unknown model \(nothing\)"):
        peaks["unknown"].result()
