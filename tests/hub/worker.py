"""A user's Python: takes one command a line as JSON and answers with one line of JSON.

Run as a script it is bare: it has imported what takes long to import, and knows of no Hub. Asked to
`fork`, it leaves a copy with an environment and a connection of its own, which imports the package
and `huggingface_hub` from there on, as a new process would. A copy can be forked again, and killed.
"""

import contextlib
import errno
import importlib
import io
import json
import os
import socket
import sys
import time
import traceback
import types
from collections.abc import Callable, Mapping
from typing import Any

SLOW = ("torch", "torchvision", "lightning.pytorch", "torchmetrics")  # read nothing of the Hub

READS_THE_HUB = ("huggingface_hub", "transformers", "tokenizers")


def command(*arguments: str) -> dict[str, Any]:
    """`kdna-zoo ARGUMENTS`."""
    from kdna_zoo.cli.app import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def load(name: str, **arguments: Any) -> dict[str, Any]:
    """`timm.create_model(name, pretrained=True)`, and what it says of a fixed picture."""
    import timm
    import torch

    import kdna_zoo  # noqa: F401

    model = timm.create_model(name, **{"pretrained": True, **arguments}).eval()
    size = getattr(model, "pretrained_cfg", {})["input_size"]
    with torch.inference_mode():
        logits = model(torch.ones(1, *size))[0]
    config = {key: str(value) for key, value in model.pretrained_cfg.items()}
    return {"logits": logits.tolist() if isinstance(logits, torch.Tensor) else [], "config": config}


def export(**variables: str | None) -> dict[str, Any]:
    """Sets environment variables that are read when they are needed, such as HF_TOKEN."""
    for name, value in variables.items():
        os.environ.pop(name, None)
        os.environ.update({name: value} if value is not None else {})
    return {}


def hasten() -> dict[str, Any]:
    """Lets the Hub's client try again without a pause."""
    client: Any = importlib.import_module("huggingface_hub.utils._http")
    client.time = types.SimpleNamespace(**{**vars(time), "sleep": lambda _: None})
    return {}


def read_only(folder: str) -> dict[str, Any]:
    """Lets nothing in a folder be written any more, as on a file system that is mounted so."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        writes = {"os.mkdir", "os.rename", "os.remove", "os.symlink", "os.chmod", "os.utime"}
        flags = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
        if event in writes or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            for path in arguments[:2]:
                if isinstance(path, str) and os.path.abspath(path).startswith(folder):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    sys.addaudithook(refuse)
    return {}


def fork(
    port: int, log: str, environment: Mapping[str, str] | None = None, package: str | None = None
) -> dict[str, Any]:
    """Leaves a copy of this process that answers on another port.

    Args:
        port: Where the copy reports.
        log: The file for what it writes beside its answers.
        environment: All of its environment; None: this one's.
        package: The checkout whose code it runs, and where it stands; None: as here.
    """
    if os.fork():
        return {}
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(opened, descriptor)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    if package is not None:
        assert not {"kdna_zoo", "huggingface_hub"} & set(sys.modules), "no bare process"
        sys.path.insert(0, package)
        os.chdir(package)
    serve(port)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # nothing of what the original has still to do


def answer(call: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    calls: dict[str, Callable[..., dict[str, Any]]] = {
        "command": command,
        "load": load,
        "export": export,
        "hasten": hasten,
        "read_only": read_only,
        "fork": fork,
    }
    try:
        return calls[call](*args, **kwargs)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def serve(port: int) -> None:
    """Answers on a port of this machine until the other side hangs up."""
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        connection.makefile("r") as requests,
        connection.makefile("w") as answers,
    ):
        print(json.dumps({"pid": os.getpid()}), file=answers, flush=True)
        for line in requests:
            print(json.dumps(answer(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    for name in SLOW:
        importlib.import_module(name)
    for name in [n for n in sys.modules if n.partition(".")[0] in READS_THE_HUB]:
        del sys.modules[name]  # torchmetrics imports transformers where it is installed
    serve(int(sys.argv[1]))
