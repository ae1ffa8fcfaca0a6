"""A user with a Python of their own, a cache and perhaps a token."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.hub.double import HubDouble

REPOSITORY = Path(__file__).parents[2]
WORKER = REPOSITORY / "tests" / "hub" / "worker.py"


class EndedError(Exception):
    """The process ended before it answered."""


class Python:
    """A process that `worker.py` runs in; use it as a context manager.

    Args:
        start: Lets it start, given the port of this machine on which it reports.
    """

    def __init__(self, start: Callable[[int], object]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._started = start(server.getsockname()[1])
            self._connection, _ = server.accept()
        self._answers = self._connection.makefile("r")
        self.pid: int = self._read()["pid"]

    def __enter__(self) -> "Python":
        return self

    def __exit__(self, *_: object) -> None:
        """Lets it end, and waits until it has."""
        self._connection.shutdown(socket.SHUT_WR)
        self._answers.read()
        self._answers.close()
        self._connection.close()

    def ask(self, call: str, *args: object, **kwargs: object) -> dict[str, Any]:
        """Calls a function of `worker.py`; EndedError if the process is killed meanwhile."""
        request = {"call": call, "args": args, "kwargs": kwargs}
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        return self._read()

    def run(self, *arguments: object) -> dict[str, Any]:
        """`kdna-zoo ARGUMENTS`: its exit code and what it wrote."""
        return self.ask("command", *map(str, arguments))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _read(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise EndedError
        found: dict[str, Any] = json.loads(line)
        return found


class User(Python):
    """Runs commands and loads networks in one process of its own, which knows its Hub by name."""

    def __init__(
        self,
        hub: HubDouble,
        home: Path,
        token: str | None = None,
        package: Path = REPOSITORY,
        more: Mapping[str, str] | None = None,
    ) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        environment = {
            **kept,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            **({"HF_TOKEN": token} if token else {}),
            **(more or {}),
        }
        home.mkdir(parents=True, exist_ok=True)
        self.cache = home / "hub"
        self.log = home.with_suffix(".log")
        super().__init__(
            lambda port: bare().ask("fork", port, str(self.log), environment, str(package))
        )

    def __enter__(self) -> "User":
        return self

    def load(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The network's logits and configuration, or the error."""
        return self.ask("load", name, **arguments)

    def export(self, **variables: str | None) -> None:
        """Sets environment variables, or takes them away."""
        assert self.ask("export", **variables) == {}

    def copy(self) -> Python:
        """Another process that is as this one is now; to be killed."""
        return Python(lambda port: self.ask("fork", port, str(self.log)))


@cache
def bare() -> Python:
    """The process that all users are forked from; it ends with this one."""
    return Python(lambda port: subprocess.Popen([sys.executable, str(WORKER), str(port)]))
