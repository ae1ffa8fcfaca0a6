"""What training and release agree on about checkpoint files, and what is wrong with one."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdna_zoo.errors import UserError

RECORD_FORMAT = 1  # of the record that training leaves under ``checkpoint["kdna_zoo"]``
SHOWN = 3  # this many keys of a kind are named in an error


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


def describe_mismatch(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], passed_over: Collection[str] = ()
) -> str:
    """Say how the weights in a file differ from those of a network; empty if they fit.

    Args:
        state: The weights in the file, by key.
        own: Those of the network.
        passed_over: Keys that need not fit.
    """
    state = {key: tensor for key, tensor in state.items() if key not in passed_over}
    own = {key: tensor for key, tensor in own.items() if key not in passed_over}
    reshaped = [
        f"{key!r} ({_shape(state[key])} in the file, {_shape(own[key])} in the network)"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    kinds = {
        "missing": [repr(key) for key in own if key not in state],
        "unexpected": [repr(key) for key in state if key not in own],
        "of another shape": reshaped,
    }
    return "; ".join(f"{what}: {_some(keys)}" for what, keys in kinds.items() if keys)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"{', '.join(keys[:SHOWN])}{more}"


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
