"""A user's Python: reads one command a line as JSON and answers with one line of JSON.

Commands run one after another in a process of their own, which knows of the Hub on localhost by
its environment only. Run as a script, with the package under test on PYTHONPATH.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any


def command(*arguments: str) -> dict[str, Any]:
    """`kdna-zoo ARGUMENTS`."""
    from kdna_zoo.cli import main

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


def answer(request: dict[str, Any]) -> dict[str, Any]:
    calls: dict[str, Callable[..., dict[str, Any]]] = {
        "command": command,
        "load": load,
        "export": export,
    }
    try:
        return calls[request["call"]](*request["args"], **request["kwargs"])
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    for line in sys.stdin:
        result = json.dumps(answer(json.loads(line)))
        print(f"RESULT {result}", flush=True)
