"""One run of ``kdna-zoo bench``: cases built, timed against each other, memory measured."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any

import torch

from kdna_zoo.analysis.bench.cases import BenchmarkCase, Runner, Setting, make_runner
from kdna_zoo.analysis.bench.compat import failing_past_the_recompile_limit
from kdna_zoo.analysis.bench.memory import peak_on_cpu, peak_on_cuda
from kdna_zoo.analysis.bench.timing import Measurement, Times, measure
from kdna_zoo.errors import KdnaZooError, UserError
from kdna_zoo.records.formats import BENCH, mark
from kdna_zoo.records.machine import hardware, versions_of_measurement

Report = Callable[[str], object]


@dataclass(frozen=True)
class Result:
    """What one case did.

    Attributes:
        case: Network and form.
        parameters: Of the network in this form.
        times: Seconds a step.
        time_ratio: Its median step over the first case's.
        images_per_second: Of the median step.
        peak_memory: In bytes; None if it was not measured.
        memory_ratio: How many times the first case's.
    """

    case: BenchmarkCase
    parameters: int
    times: Times
    time_ratio: float
    images_per_second: float
    peak_memory: int | None
    memory_ratio: float | None


@dataclass(frozen=True)
class Comparison:
    """All results of a run, and what they were measured on.

    Attributes:
        setting: What all cases had in common.
        results: One for each case; ratios are to the first.
        order: For each round, the cases' indices in the order in which they had their turn.
        machine: Hardware, versions and start, as plain JSON types.
    """

    setting: Setting
    results: tuple[Result, ...]
    order: tuple[tuple[int, ...], ...]
    machine: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON types, each round's figures included."""
        return {
            **mark(BENCH),
            **asdict(self.setting),
            **self.machine,
            "rounds": len(self.order),
            "order": [list(turns) for turns in self.order],
            "results": [_as_data(result) for result in self.results],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Comparison":
        """Make what `to_dict` wrote; other keys are passed over."""
        setting = Setting(**{field.name: data[field.name] for field in fields(Setting)})
        results = tuple(
            Result(
                BenchmarkCase(found["network"], found["form"]),
                found["parameters"],
                Times(tuple(found["seconds"]), found["repeats"]),
                found["time_ratio"],
                found["images_per_second"],
                found["peak_memory_bytes"],
                found["memory_ratio"],
            )
            for found in data["results"]
        )
        machine = {key: data[key] for key in ("hardware", "versions", "started")}
        return cls(setting, results, tuple(map(tuple, data["order"])), machine)


def compare(
    cases: Sequence[BenchmarkCase],
    setting: Setting,
    rounds: int = 15,
    *,
    memory: bool = True,
    turn: float = 0.1,
    report: Report = lambda text: None,
) -> Comparison:
    """Measure cases against each other.

    Args:
        cases: What to measure; the first is what the others are compared with.
        setting: What all have in common.
        rounds: Turns of each case.
        memory: Whether to measure peak memory too; on a CPU it takes a process for each.
        turn: A turn lasts at least so long, in seconds.
        report: Is told what is going on.

    Raises:
        UserError: If a case cannot be built or cannot take a step in this setting, or the
            device is not there.
    """
    _check_device(setting.device)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    cuda = setting.device == "cuda"
    runners, peaks = [], []
    with _threads(setting.threads), failing_past_the_recompile_limit():
        for case in cases:
            report(f"building {case}")
            runner, peak = _try(case, setting, memory and cuda)
            runners.append(runner)
            peaks.append(peak)
        report("warming up")
        measurement = measure(
            [runner.step for runner in runners],
            rounds,
            turn=turn,
            synchronize=torch.cuda.synchronize if cuda else lambda: None,
            progress=lambda done: report(f"round {done} of {rounds}"),
        )
    if memory and not cuda:
        peaks = []
        for case in cases:
            report(f"memory of {case}")
            peaks.append(peak_on_cpu(case, setting))
    results = _results(cases, runners, measurement, peaks, setting.batch_size)
    machine = {
        "hardware": hardware(setting.device),
        "versions": versions_of_measurement(),
        "started": started,
    }
    return Comparison(setting, tuple(results), measurement.order, machine)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_device(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("torch finds no CUDA device on this machine; use --device cpu")


def _try(case: BenchmarkCase, setting: Setting, memory: bool) -> tuple[Runner, int | None]:
    """Build a case and let it take a first step, which is where most misfits show."""
    try:
        if memory:
            return peak_on_cuda(lambda: make_runner(case, setting))
        runner = make_runner(case, setting)
        _take_first_step(runner, case)
    except KdnaZooError:
        raise
    except Exception as error:  # the network's own code, or a compiler's, may raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{case} does not run: {lines[0]} ({setting})") from error
    return runner, None


def _take_first_step(runner: Runner, case: BenchmarkCase) -> None:
    try:
        runner.step()
    except UserError as error:  # of a layer, which does not know whose it is
        raise UserError(f"{case}: {error}") from error


def _results(
    cases: Sequence[BenchmarkCase],
    runners: Sequence[Runner],
    measurement: Measurement,
    peaks: Sequence[int | None],
    batch_size: int,
) -> list[Result]:
    first, first_peak = measurement.times[0], peaks[0]
    return [
        Result(
            case=case,
            parameters=runner.parameters,
            times=times,
            time_ratio=times.median / first.median,
            images_per_second=batch_size / times.median,
            peak_memory=peak,
            memory_ratio=peak / first_peak if peak and first_peak else None,
        )
        for case, runner, times, peak in zip(cases, runners, measurement.times, peaks, strict=True)
    ]


def _as_data(result: Result) -> dict[str, Any]:
    lower, upper = result.times.quartiles
    return {
        "network": result.case.network,
        "form": result.case.form,
        "parameters": result.parameters,
        "images_per_second": result.images_per_second,
        "seconds_per_step": {"median": result.times.median, "quartiles": [lower, upper]},
        "time_ratio": result.time_ratio,
        "throughput_ratio": 1 / result.time_ratio,
        "peak_memory_bytes": result.peak_memory,
        "memory_ratio": result.memory_ratio,
        "repeats": result.times.repeats,
        "seconds": list(result.times.seconds),
    }
