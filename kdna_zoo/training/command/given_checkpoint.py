"""The checkpoint that a sub-command is given, by its path or by a word, checked before all else.

Lightning takes words for a path (``last``, ``best``, ``hpc``, ``registry:...``), and under SLURM it
takes an ``hpc_ckpt_N.ckpt`` that it finds by itself. Here each becomes one checked file, so that
Lightning has nothing to look for; and `SafeCheckpointIO` loads whatever it loads, without code.
"""

import json
import sys
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_info

from kdna_zoo.errors import UserError
from kdna_zoo.records.checkpoints import open_checkpoint
from kdna_zoo.training.resume.finding import REQUEUED, find_newest, left_for_requeue, runs_in

RESUMED = ("last", "hpc")  # in training: as --resume
LOCAL = "local-dir:"
GIVE = "give the file: --ckpt_path FILE"


def check_unpickling(config: Any) -> None:
    """Refuse to load a checkpoint in the way that would run code from it.

    Raises:
        UserError: If ``--weights_only false`` was given.
    """
    if config.get("weights_only") is False:
        raise UserError(
            "--weights_only false would run code that a checkpoint may hold, and kdna-zoo never"
            " does; leave it out: the checkpoints of `kdna-zoo fit` need none"
        )


def begun_from(config: Any) -> Path | None:
    """Return the file that a training run begins from, if its path is given.

    Raises:
        UserError: If it cannot be used.
    """
    given = config.ckpt_path
    if given is None or given in RESUMED:
        _check_that_none_is_taken(
            Path(config.trainer.default_root_dir),
            "it is damaged or of another run than those there: move it away, or begin in another"
            " folder (--trainer.default_root_dir)",
        )
        return None
    if given == "best":
        raise UserError(
            f"--ckpt_path best is for validate, test and predict; to begin a run from it, {GIVE}"
        )
    return _checked(given)


def evaluated(config: Any) -> Path | None:
    """Find the file whose weights are evaluated; None: those that the network is created with.

    Raises:
        UserError: If there is none as asked for, or it cannot be used.
    """
    given, folder = config.ckpt_path, Path(config.trainer.default_root_dir)
    if "--resume" in sys.argv:  # a saved configuration may well have it
        raise UserError("--resume is for fit; to evaluate the newest run, give --ckpt_path last")
    if given is None:
        _check_that_none_is_taken(
            folder,
            "give --ckpt_path hpc to evaluate that, --ckpt_path FILE for another, or"
            " --trainer.default_root_dir for another folder",
        )
        return None
    if given == "last":
        path = _last(folder, config.last_checkpoint.dirpath)
    elif given == "best":
        path = _best(folder, config.checkpoint)
    elif given == "hpc":
        path = _requeued(folder)
    else:
        return _checked(given)
    rank_zero_info(f"evaluating {path}")
    return path.absolute()


def learnt_names(checkpoint: Path | None, arch: str) -> list[str] | None:
    """Return the names of the classes that a network has learnt; None where nothing tells.

    Args:
        checkpoint: The file whose weights are evaluated; None: those that `arch` stands for.
        arch: The network's name for timm.
    """
    if checkpoint is not None:
        record = open_checkpoint(checkpoint).get("kdna_zoo") or {}
        return record.get("label_names") or None
    if not arch.startswith(LOCAL):
        return None
    try:
        config = json.loads(Path(arch.removeprefix(LOCAL), "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None  # creating the network says what is wrong with it
    return config.get("label_names") if isinstance(config, dict) else None


def _checked(given: str) -> Path:
    path = Path(given)
    open_checkpoint(path)
    return path.absolute()  # which is no word


def _last(folder: Path, checkpoints: str | None) -> Path:
    found = find_newest(folder, checkpoints)
    if found is None:
        raise UserError(
            f"--ckpt_path last: there is no whole checkpoint of a run in {folder}; {GIVE}, or the"
            " run's --trainer.default_root_dir"
        )
    return found[0].checkpoint


def _best(folder: Path, saving: Any) -> Path:
    """Return the newest run's best checkpoint; there is no second best to take in its place."""
    name = f"{saving.filename}.ckpt"
    for _, run in runs_in(folder, saving.dirpath):
        path = Path(saving.dirpath or run / "checkpoints") / name
        if path.exists():
            open_checkpoint(path)
            return path
    raise UserError(
        f"--ckpt_path best: there is no {name} of a run in {folder}; {GIVE}, or the run's"
        " --trainer.default_root_dir"
    )


def _requeued(folder: Path) -> Path:
    left = left_for_requeue(folder)
    if not left:
        raise UserError(
            f"--ckpt_path hpc: there is no {REQUEUED} in {folder}, where SLURM's requeue signal"
            f" leaves one; {GIVE}"
        )
    open_checkpoint(left[-1])
    return left[-1]


def _check_that_none_is_taken(folder: Path, advice: str) -> None:
    """Refuse what Lightning would load unasked."""
    left = left_for_requeue(folder) if SLURMEnvironment.detect() else []
    if left:
        raise UserError(f"{left[-1]} is the state of a job that SLURM was to requeue: {advice}")
