"""Measures steps side by side: interleaved round by round, so that a slow minute hits all alike.

In each round every step has one turn; a turn repeats the step until it lasts long enough to be
timed. The round starts one step further each time, so that none is always the first. What counts
is the median of the rounds, beside its quartiles.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Step = Callable[[], object]


@dataclass(frozen=True)
class Times:
    """How long a step took.

    Attributes:
        seconds: Of one step, a figure for each round.
        repeats: How often a turn repeated the step; the figures are means over these.
    """

    seconds: tuple[float, ...]
    repeats: int

    @property
    def median(self) -> float:
        """Median of the rounds, in seconds."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Lower and upper quartile of the rounds, in seconds."""
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        lower, _, upper = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return lower, upper


@dataclass(frozen=True)
class Measurement:
    """What a run of several steps gave.

    Attributes:
        times: Of each step, in the order given.
        order: For each round, the indices of the steps in the order in which they had their turn.
    """

    times: tuple[Times, ...]
    order: tuple[tuple[int, ...], ...]


def measure(
    steps: Sequence[Step],
    rounds: int = 15,
    *,
    warmup: int = 3,
    turn: float = 0.1,
    synchronize: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[int], object] = lambda done: None,
) -> Measurement:
    """Time steps against each other.

    Args:
        steps: What to time.
        rounds: How many turns each step has.
        warmup: How often each step runs before the first round.
        turn: A turn repeats its step to last at least so long, in seconds.
        synchronize: Waits until the device has done what a step asked of it.
        clock: Tells the time, in seconds.
        progress: Called after each round with the number of rounds done.
    """

    def take(step: Step, repeats: int) -> float:
        synchronize()
        start = clock()
        for _ in range(repeats):
            step()
        synchronize()
        return (clock() - start) / repeats

    repeats = []
    for step in steps:
        fastest = min(take(step, 1) for _ in range(max(warmup, 1)))
        repeats.append(max(1, math.ceil(turn / fastest)))
    seconds: list[list[float]] = [[] for _ in steps]
    order = []
    for done in range(rounds):
        turns = tuple((done + i) % len(steps) for i in range(len(steps)))
        for index in turns:
            seconds[index].append(take(steps[index], repeats[index]))
        order.append(turns)
        progress(done + 1)
    times = [Times(tuple(s), r) for s, r in zip(seconds, repeats, strict=True)]
    return Measurement(tuple(times), tuple(order))
