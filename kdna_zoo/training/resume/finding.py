"""Finding the checkpoint to go on from, or to evaluate: the newest whole one of the newest run."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from kdna_zoo.errors import UserError
from kdna_zoo.records.checkpoints import open_checkpoint

REQUEUED = "hpc_ckpt_*.ckpt"  # what Lightning leaves beside the run folders when SLURM requeues


@dataclass(frozen=True)
class Resumption:
    """What a run goes on from.

    Attributes:
        checkpoint: The file.
        version: The number of its ``version_N`` folder; None where runs have no folder.
        step: Optimizer steps that were made.
    """

    checkpoint: Path
    version: int | None
    step: int


def find_run(config: Any) -> Resumption | None:
    """Find what a ``fit`` command goes on from, if it asks for it or SLURM has requeued it.

    Args:
        config: The command's configuration.

    Raises:
        UserError: If the run's folder is not this package's to know.
    """
    words = config.ckpt_path in ("last", "hpc")
    folder = Path(config.trainer.default_root_dir)
    left = left_for_requeue(folder) if SLURMEnvironment.detect() else []
    requeued = left and int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0
    if not config.resume and not words and (config.ckpt_path is not None or not requeued):
        if left and config.ckpt_path is None:  # Lightning would go on from it
            raise UserError(
                f"{left[-1]} is the state of a job that SLURM was to requeue, and this job is a new"
                " one: give --resume to go on with that run, or delete the file, or begin in"
                " another folder (--trainer.default_root_dir)"
            )
        return None
    if config.resume and config.ckpt_path not in (None, "last", "hpc"):
        raise UserError("give --resume or --ckpt_path, not both: --resume finds the checkpoint")
    seed = config.seed_everything
    given = seed if isinstance(seed, int) and not isinstance(seed, bool) else None
    return find_resumption(folder, config.last_checkpoint.dirpath, given)


def find_resumption(
    folder: Path, checkpoints: str | None = None, given: int | None = None
) -> Resumption | None:
    """Find the newest run in a folder that has a whole checkpoint, and its newest; say what it is.

    A run that ended before its first checkpoint, by a mistyped option for one, is passed over.

    Args:
        folder: Where the run folders lie (``trainer.default_root_dir``).
        checkpoints: The folder of the checkpoints, where it is not in the run's.
        given: The command's seed, if it has one.

    Raises:
        UserError: If the run found has another seed.

    Returns:
        None if there is none, so that the same command begins a run and goes on with it.
    """
    found = find_newest(folder, checkpoints)
    if found is None:
        rank_zero_warn(f"nothing to resume in {folder}: beginning from the start")
        return None
    resumption, seed = found
    _check_seed(given, seed)
    rank_zero_info(f"resuming from {resumption.checkpoint}, after step {resumption.step}")
    return resumption


def find_newest(
    folder: Path, checkpoints: str | None = None
) -> tuple[Resumption, int | None] | None:
    """Find the newest whole checkpoint of the newest run that has one, and that run's seed.

    Args:
        folder: Where the run folders lie (``trainer.default_root_dir``).
        checkpoints: The folder of the checkpoints, where it is not in the run's.
    """
    for version, run in runs_in(folder, checkpoints):
        found = _find_checkpoint(Path(checkpoints or run / "checkpoints"), folder, run.name)
        if found is not None:
            path, step, seed = found
            return Resumption(path, version, step), seed
        rank_zero_warn(f"no whole checkpoint in {run}")
    return None


def runs_in(folder: Path, checkpoints: str | None = None) -> list[tuple[int | None, Path]]:
    """Return the runs in a folder, the newest first: the number of each, and its folder.

    Args:
        folder: Where the run folders lie; the only run's own, where there are none in it.
        checkpoints: A folder that holds all checkpoints: they are the newest run's.
    """
    versions: list[int | None] = [*list_versions(folder)] or [None]
    runs = [(n, folder if n is None else folder / f"version_{n}") for n in versions]
    return runs[:1] if checkpoints else runs


def _check_seed(given: int | None, seed: int | None) -> None:
    """Refuse to go on with another seed: what is random in the run follows from its own."""
    if given is not None and seed is not None and given != seed:
        raise UserError(
            f"the run to go on with has the seed {seed}, and this command {given}: give"
            f" --seed_everything {seed}, or leave --resume out to begin another run"
        )


def _find_checkpoint(
    checkpoints: Path, folder: Path, run: str
) -> tuple[Path, int, int | None] | None:
    """Return a run's newest whole checkpoint, its step and its seed."""
    whole = (path for path in checkpoints.glob("*.ckpt") if not path.name.startswith("."))
    files = [*whole, *folder.glob(REQUEUED)]
    for path in sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True):
        try:
            checkpoint = open_checkpoint(path)
        except UserError as error:
            rank_zero_warn(f"{error} Looking for the checkpoint before it.")
            continue
        if path.match(REQUEUED) and _folder(checkpoint) not in (None, run):
            continue
        record = checkpoint.get("kdna_zoo", {}).get("run", {})
        return path, int(checkpoint["global_step"]), record.get("seed")
    return None


def list_versions(folder: Path) -> list[int]:
    """Return the N of the ``version_N`` folders in a folder, the highest first."""
    found = (re.fullmatch(r"version_(\d+)", path.name) for path in folder.glob("version_*"))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def left_for_requeue(folder: Path) -> list[Path]:
    """Return what jobs left that SLURM was to requeue, the newest last."""
    numbered = [
        (re.fullmatch(r"hpc_ckpt_(\d+)\.ckpt", file.name), file) for file in folder.glob("*")
    ]
    return [file for _, file in sorted((int(match[1]), file) for match, file in numbered if match)]


def _folder(checkpoint: Mapping[str, Any]) -> str | None:
    """Return the name of the run folder that a checkpoint belongs to, if it says so."""
    name = checkpoint.get("kdna_zoo", {}).get("run", {}).get("folder")
    return str(name) if name else None
