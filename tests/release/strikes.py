"""Publishes again and again, struck down each time before another touch of the file system.

Python reports each open, mkdir, rename and removal to audit hooks before it happens. A hook, once
set, stays, so this runs in a process of its own:

    python -m tests.release.strikes FOLDER

Strikes come in three ways (kill, interrupt, error), on a target that is absent or holds an old
release to be replaced. For each strike it prints one line of JSON: what the target was afterwards,
what lay beside it, and the same after a publish that was refused and one that went through.
"""

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import timm
import torch

from kdna_zoo.atomic import replaced_folder
from kdna_zoo.errors import UserError
from kdna_zoo.records.record import parse_record
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.folder import write_folder
from kdna_zoo.release.options import Release

from .support import ARCH, LABELS, contents, make_record

Publish = Callable[[Path], object]
TOUCHES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir")


class Strike:
    """Strikes before the touch with the given number of any path below `folder`."""

    def __init__(self, folder: Path, number: int, blow: Callable[[], None]) -> None:
        self.folder, self.number, self.blow = str(folder), number, blow
        self.fell = self.while_tidying = False

    def meet(self, event: str, arguments: tuple[Any, ...]) -> None:
        touches = event in TOUCHES and str(arguments[0]).startswith(self.folder)
        if not touches or self.fell:
            return
        self.number -= 1
        if self.number < 0:
            self.fell = True
            self.while_tidying = "_tidy" in callers()
            self.blow()


def callers() -> set[str]:
    """The names of the functions that are running."""
    names, frame = set(), sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        names.add(frame.f_code.co_name)
    return names


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    raise KeyboardInterrupt


def error() -> None:
    raise OSError(errno.EIO, "Input/output error")


current: Strike | None = None


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if current is not None:
        current.meet(event, arguments)


def struck(publish: Publish, target: Path, strike: Strike) -> str:
    """Publishes under a strike and says how it ended."""
    global current
    current = strike
    try:
        publish(target)
    except (OSError, KeyboardInterrupt) as caught:
        return type(caught).__name__
    finally:
        current = None
    return "finished"


def struck_in_child(publish: Publish, target: Path, strike: Strike) -> str:
    """The same in a forked process, which the strike may kill."""
    child = os.fork()
    if child == 0:
        struck(publish, target, strike)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    strike.fell = os.WIFSIGNALED(status)
    return "killed" if strike.fell else "finished"


def publish_texts(target: Path) -> None:
    """Publishes three small files, to be quick."""
    with replaced_folder(target) as fresh:
        for name in ("a", "b", "c"):
            (fresh / name).write_text(f"new {name}")


def refuse(target: Path) -> None:
    """Begins to publish and thinks better of it."""
    with suppress(UserError), replaced_folder(target):
        raise UserError("refused")


def state(target: Path, known: dict[str, Path]) -> dict[str, Any]:
    """What the target is, by name, and what lies beside it."""
    beside = sorted(path.name for path in target.parent.iterdir() if path != target)
    if not target.exists():
        return {"target": "absent", "beside": beside}
    found = contents(target)
    names = [name for name, folder in known.items() if contents(folder) == found]
    return {"target": names[0] if names else f"broken: {sorted(found)}", "beside": beside}


def strike_each(
    publish: Publish, folder: Path, way: Callable[[], None], start: str, known: dict[str, Path]
) -> None:
    """Strikes the first touch, the second, and so on, until a publish is over before its strike."""
    run = struck_in_child if way is kill else struck
    for number in count():
        target = folder / str(number) / "model"
        target.parent.mkdir(parents=True)
        if start == "old":
            shutil.copytree(known["old"], target)
        strike = Strike(target.parent, number, way)
        ended = run(publish, target, strike)
        if not strike.fell:
            return
        line = {"way": way.__name__, "start": start, "ended": ended, **state(target, known)}
        line["while_tidying"] = strike.while_tidying
        refuse(target)
        line["after_refusal"] = state(target, known)
        if line["beside"]:
            publish(target)
            line["after_publish"] = state(target, known)
        print(json.dumps(line))


def strike_small_files(folder: Path) -> None:
    """Strikes in each way, from each start."""
    known = {"old": folder / "old", "new": folder / "new"}
    publish_texts(known["new"])
    shutil.copytree(known["new"], known["old"])
    (known["old"] / "a").write_text("old a")
    for way in (kill, interrupt, error):
        for start in ("absent", "old"):
            strike_each(publish_texts, folder / f"{way.__name__}-{start}", way, start, known)


def strike_release(folder: Path) -> None:
    """Kills the publishing of a real network over an old release."""
    torch.set_num_threads(1)  # a forked process has no thread but its own
    torch.manual_seed(0)
    model = timm.create_model(ARCH, num_classes=len(LABELS)).eval()
    trained = TrainedModel(model, parse_record(make_record()), "raw", averaged=False)
    known = {
        "old": write_folder(trained, folder / "old", about=Release(license="mit")),
        "new": write_folder(trained, folder / "new"),
    }

    def publish(target: Path) -> None:
        write_folder(trained, target, overwrite=True)

    strike_each(publish, folder / "kill", kill, "old", known)


if __name__ == "__main__":
    sys.addaudithook(hook)
    strike_small_files(Path(sys.argv[1]) / "small")
    strike_release(Path(sys.argv[1]) / "release")
