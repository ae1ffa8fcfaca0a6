"""A publisher who presses Ctrl-C, or is told to stop, while files go to the Hub."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.hub.double import HubDouble
from tests.hub.test_faults import describe
from tests.hub.test_killed import MOMENTS, publish
from tests.hub.user import User


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", ["in the upload", "in the commit", "in reading back"])
def test_one_line_says_how_to_go_on(
    hub: HubDouble,
    publisher: User,
    folder: Path,
    moment: str,
    number: signal.Signals,
    code: int,
) -> None:
    hub.objects.clear()
    repo = f"kdna-zoo/interrupted-{moment.replace(' ', '-')}-{code}"
    with publisher.copy() as user:
        fault: dict[str, Any] = {**MOMENTS[moment][0], "kind": "cut"}
        hub.fail(**fault, meanwhile=lambda: os.kill(user.pid, number))
        result = user.run(*publish(folder, repo))
        hub.faults.clear()
        assert result["code"] == code, result
        line = f"kdna-zoo publish {folder} --repo {repo} --tag v2"
        last = result["err"].splitlines()[-1]
        assert last.endswith(f": {folder} is whole; `{line}` does what is missing")
        assert "Traceback" not in result["err"]
        again = user.run(*publish(folder, repo))
    assert again["code"] == 0, again
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert describe(hub.repos[f"models/{repo}"].head, files) == "the new revision"
