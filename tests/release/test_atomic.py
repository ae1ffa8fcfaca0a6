import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from kdna_zoo.atomic import replaced_folder

from .support import contents

pytestmark = pytest.mark.integration

LEFTOVERS = {".model.kdna-zoo-new", ".model.kdna-zoo-old"}


@pytest.fixture(scope="module")
def strikes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each strike left behind; see strikes.py."""
    repository = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.strikes", str(tmp_path_factory.mktemp("strikes"))],
        cwd=repository,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_way_struck_before_and_after_the_change(strikes: list[dict[str, Any]]) -> None:
    seen = {(strike["way"], strike["start"], strike["target"]) for strike in strikes}
    for way in ("kill", "interrupt", "error"):
        assert {(way, "absent", "absent"), (way, "old", "old"), (way, "old", "new")} <= seen
    assert sum(strike["ended"] == "killed" for strike in strikes) > 30


def test_target_is_never_half_written(strikes: list[dict[str, Any]]) -> None:
    for strike in strikes:
        assert strike["target"] in (strike["start"], "new", "absent"), strike
        if strike["target"] == "absent" and strike["start"] == "old":  # between the two renames
            assert strike["ended"] == "killed", strike
            assert ".model.kdna-zoo-old" in strike["beside"], strike
        if strike["ended"] == "finished":
            assert strike["target"] == "new", strike


def test_failure_or_interrupt_leaves_nothing_behind(strikes: list[dict[str, Any]]) -> None:
    for strike in strikes:
        if strike["ended"] != "killed" and not strike["while_tidying"]:
            assert strike["beside"] == [], strike


def test_what_is_left_is_known_and_removed_by_the_next(strikes: list[dict[str, Any]]) -> None:
    for strike in strikes:
        assert set(strike["beside"]) <= LEFTOVERS, strike
        assert strike["after_refusal"]["beside"] == [], strike
        if strike["beside"]:
            assert strike["after_publish"] == {"target": "new", "beside": []}, strike


def test_old_release_survives_a_kill_and_a_refusal(strikes: list[dict[str, Any]]) -> None:
    """Killed between the renames, the old release comes back even if nothing new is published."""
    for strike in strikes:
        before = "old" if strike["start"] == "old" else "absent"
        after = strike["target"] if strike["target"] == "new" else before
        assert strike["after_refusal"]["target"] == after, strike


def test_two_at_once_take_turns(tmp_path: Path) -> None:
    target = tmp_path / "model"
    entered, order = threading.Event(), []

    def second() -> None:
        entered.wait()
        with replaced_folder(target) as fresh:
            order.append("second")
            (fresh / "file").write_text("second")

    thread = threading.Thread(target=second)
    thread.start()
    with replaced_folder(target) as fresh:
        entered.set()
        thread.join(timeout=0.2)  # it must wait, so it is still alive
        assert thread.is_alive()
        order.append("first")
        (fresh / "file").write_text("first")
    thread.join()
    assert order == ["first", "second"]
    assert contents(target) == {"file": b"second"}
