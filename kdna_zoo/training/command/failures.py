"""What ends a run and is no error of this package: in one line, with the way out.

Errors of torch, timm, Lightning and the system are known by their words. For one that is not known
there is no advice; its traceback is kept (see `kdna_zoo.tracebacks`).
"""

import re
import sys
import traceback
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

from kdna_zoo.errors import FULL, UNWRITABLE, KdnaZooError, RunError, UserError
from kdna_zoo.tracebacks import leave_traceback, one_line

MISTAKES = (  # what an error's text has in it, and what the user can do
    (
        r"batch of one image|more than 1 value per channel",
        "a batch norm cannot train on one image ({}): give data.batch_size 2 or more, with as many "
        "training images on each device",
    ),
    (
        r"val_check_interval.*less than or equal",
        "an epoch has fewer batches than trainer.val_check_interval ({}): lower it, or count over "
        "epochs with trainer.check_val_every_n_epoch null",
    ),
    (
        r"Early stopping conditioned on metric",
        "{}; set the monitor of EarlyStopping to one of these",
    ),
    (
        r"Input (height|width|size).*doesn't match model",
        "the network takes images of one size ({}): give that as data.input_size, or "
        "model.arch_args.img_size",
    ),
    (
        r"Output size is too small|Kernel size can't be greater|height and width must be > 0",
        "the images are too small for the network ({}): give a larger data.input_size, and a "
        "data.preprocess.crop_pct above 0",
    ),
    (r"std evaluated to zero", "{}: give data.preprocess.std above 0"),
    (r"numpy accepts from 0 to", "seed_everything cannot be used ({})"),
    (r"[Nn]o NVIDIA driver|not compiled with CUDA", "there is no GPU to use here: {}"),
    (
        r"finished reduction in the prior iteration",
        "some parameters get no gradient, which DDP waits for: give --trainer.strategy "
        "ddp_find_unused_parameters_true",
    ),
    (
        r"EADDRINUSE|[Aa]ddress already in use",
        "another run uses the port of this one ({}): set MASTER_PORT to another",
    ),
    (r"torch\._dynamo|BackendCompilerFailed|InductorError", "torch cannot compile: {}; leave "
     "model.compile out, or install what it lacks"),
    (r"ModuleNotFoundError|ImportError|Requirement '.*' not met", "a package is missing: {}"),
)  # fmt: skip
FAULTS = (
    (
        r"DataLoader worker \(pid.*(killed by signal|exited unexpectedly)",
        "a process that loads the data was killed ({}), often because memory ran out: lower "
        "--data.num_workers or --data.batch_size, and go on with --resume",
    ),
    (
        r"OutOfMemoryError|out of memory|can't allocate memory|^MemoryError",
        "memory ran out ({}): lower data.batch_size (trainer.accumulate_grad_batches makes up for "
        "it) or data.input_size, and go on with --resume",
    ),
)
UNTOLD = (  # what jsonargparse says of each type that a value could have and has not
    r"Does not validate|Subtypes: |Errors:|Given value|Expected a path|Not a valid subclass"
    r"|Subclass types expect|a class path \(str\)|a dict with|Problem with given class_path"
    r"|Expected a <class '(NoneType|bool|collections)"
)


def explain(error: Exception) -> KdnaZooError | None:
    """Return what to tell the user in place of an error; None if it is not known.

    Args:
        error: What was raised while a run was set up or trained.
    """
    if isinstance(error, KdnaZooError):
        return error
    if isinstance(error, MisconfigurationException):
        return UserError(" ".join(str(error).split()))
    if isinstance(error, OSError | EOFError) and _asked_a_worker(error):
        return RunError(FAULTS[0][1].format(brief(error)))
    if isinstance(error, OSError) and (known := _explain_file(error)):
        return known
    text = f"{type(error).__module__}.{type(error).__name__}: {error}"
    if own := re.search(r"\nkdna_zoo\.\S*?(\w+): (.+)", text, re.DOTALL):  # of a spawned process
        return (RunError if own[1] == "RunError" else UserError)(own[2].strip())
    said = brief(error)
    for pattern, advice in MISTAKES:
        if re.search(pattern, text):
            return UserError(advice.format(said))
    for pattern, advice in FAULTS:
        if re.search(pattern, text):
            return RunError(advice.format(said))
    return None


def _asked_a_worker(error: Exception) -> bool:
    """Whether an error came up as this process fetched a batch that another one had loaded."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    loads = any(file.endswith("torch/utils/data/dataloader.py") for file in files)
    return loads and any("/multiprocessing/" in file for file in files)


def unknown(error: Exception, folder: Path | None, rank: int) -> RunError:
    """Return what to tell of an error that is not known, whose traceback is left in a file.

    Args:
        error: What was raised while a run trained.
        folder: The run's, where the file is to be; None: it has none.
        rank: This process.
    """
    name = f"traceback.{rank}.txt" if rank else "traceback.txt"
    return RunError(leave_traceback(error, sys.argv[1:], folder and folder / name))


def _explain_file(error: OSError) -> KdnaZooError | None:
    if error.errno in FULL:
        return RunError(
            f"the disk is full: {error}. The checkpoints there are as they were; make room and go "
            "on with --resume"
        )
    if error.errno in UNWRITABLE:
        return UserError(f"cannot write there: {error}")
    if isinstance(error, FileNotFoundError) and error.filename:
        return UserError(f"there is no such file or folder, nor can it be made: {error.filename}")
    return None


def brief(error: Exception) -> str:
    """Return what an error says, in one line."""
    said = condensed(str(error))
    return one_line(error).partition(": ")[2] if said == str(error) else said


def condensed(message: str) -> str:
    """Return a message of jsonargparse about a value of several possible types in one line.

    It says for each of the types why the value is none; what tells nothing is left out. Any other
    message is returned as it is.
    """
    if "Does not validate against any of the Union subtypes" not in message:
        return message
    key = re.search(r'Parser key "([^"]+)"', message)
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    told = [line for line in lines[1:] if line and not re.match(UNTOLD, line)]
    given = next((line for line in lines if line.startswith("Given value: ")), "")
    reasons = "; ".join(dict.fromkeys(told))
    end = f" ({given[:100].lower()})" if given and len(given) <= 100 else ""
    return f"{key[1]}: {reasons}{end}" if key else f"{reasons}{end}"
