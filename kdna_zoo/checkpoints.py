"""Opening a checkpoint file without running any code from it, and saying what is wrong with it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdna_zoo.errors import UserError


def open_checkpoint(path: Path) -> Mapping[str, Any]:
    """Load a training checkpoint with ``weights_only=True``.

    Raises:
        UserError: If there is no such file, or it is not a whole and harmless checkpoint.
    """
    if not path.exists():
        raise UserError(
            f"no such checkpoint: {path}. Give the .ckpt file that `kdna-zoo fit` wrote."
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder. Give the .ckpt file itself.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # a broken file raises many things, KeyError and EOFError among them
        raise UserError(_why_not_loaded(path, error)) from error
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        raise UserError(
            f"{path} is no training checkpoint: it has no 'state_dict'."
            " Give the .ckpt file that `kdna-zoo fit` wrote."
        )
    return checkpoint


def _why_not_loaded(path: Path, error: Exception) -> str:
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return (
            f"{path} holds a Python object ({refused[1]}) that only an unsafe load would read,"
            " and kdna-zoo never loads one. Save the checkpoint again without that object."
        )
    return (
        f"{path} is no checkpoint, or is damaged or cut off ({type(error).__name__})."
        " Give a whole .ckpt file that `kdna-zoo fit` wrote."
    )
