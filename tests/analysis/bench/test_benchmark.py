"""The measuring core, with a clock that runs only while a step does."""

from collections.abc import Callable

from kdna_zoo.analysis.bench.timing import Times, measure


class Clock:
    """Tells a time that steps move on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def step(self, name: str, *seconds: float) -> Callable[[], None]:
        """Make a step that takes the given times, one after the other, and then the last again."""
        left = list(seconds)

        def take() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]
            self.log.append(name)

        return take


def test_steps_take_turns_and_each_round_starts_with_another() -> None:
    clock = Clock()
    steps = [clock.step(name, 1.0) for name in "abc"]
    measurement = measure(steps, rounds=4, warmup=2, turn=0, clock=clock)
    assert "".join(clock.log) == "aabbcc" + "abc" + "bca" + "cab" + "abc"
    assert measurement.order == ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 1, 2))
    assert [len(times.seconds) for times in measurement.times] == [4, 4, 4]


def test_warm_up_does_not_count() -> None:
    clock = Clock()
    (times,) = measure([clock.step("a", 50, 9, 1, 2, 3)], 3, warmup=2, turn=0, clock=clock).times
    assert times.seconds == (1, 2, 3)


def test_short_steps_are_repeated_until_a_turn_is_long_enough() -> None:
    clock = Clock()
    steps = [clock.step("short", 0.25), clock.step("long", 4.0)]
    short, long = measure(steps, rounds=2, warmup=1, turn=1.0, clock=clock).times
    assert (short.repeats, long.repeats) == (4, 1)
    assert (short.seconds, long.seconds) == ((0.25, 0.25), (4.0, 4.0))


def test_the_device_is_waited_for_before_the_clock_is_read() -> None:
    clock = Clock()
    pending = [0.0]

    def launch() -> None:
        pending[0] += 3.0

    def synchronize() -> None:
        clock.now, pending[0] = clock.now + pending[0], 0.0

    (times,) = measure([launch], 2, turn=0, synchronize=synchronize, clock=clock).times
    assert times.seconds == (3.0, 3.0)


def test_median_and_quartiles() -> None:
    times = Times((5.0, 1.0, 2.0, 4.0, 3.0), 1)
    assert (times.median, times.quartiles) == (3.0, (2.0, 4.0))
    assert Times((7.0,), 1).quartiles == (7.0, 7.0)


def test_progress_is_told() -> None:
    clock, rounds = Clock(), list[int]()
    measure([clock.step("a", 1.0)], 3, turn=0, clock=clock, progress=rounds.append)
    assert rounds == [1, 2, 3]
