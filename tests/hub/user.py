"""A user with a Python of their own, a cache and perhaps a token."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.hub.double import HubDouble

REPOSITORY = Path(__file__).parents[2]


class User:
    """Runs commands and loads networks in one process of its own; use it as a context manager."""

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
            "PYTHONPATH": str(package),
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            **({"HF_TOKEN": token} if token else {}),
            **(more or {}),
        }
        self.cache = home / "hub"
        self._process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tests" / "hub" / "worker.py")],
            cwd=package,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "User":
        return self

    def __exit__(self, *_: object) -> None:
        self.said = self._process.communicate()[1]

    def run(self, *arguments: object) -> dict[str, Any]:
        """`kdna-zoo ARGUMENTS`: its exit code and what it wrote."""
        return self._ask("command", *map(str, arguments))

    def load(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The network's logits and configuration, or the error."""
        return self._ask("load", name, **arguments)

    def export(self, **variables: str | None) -> None:
        """Sets environment variables, or takes them away."""
        assert self._ask("export", **variables) == {}

    def _ask(self, call: str, *args: str, **kwargs: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"call": call, "args": args, "kwargs": kwargs}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("RESULT "):
                found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
                return found
        raise AssertionError(f"the user's Python ended: {self._process.communicate()[1]}")
