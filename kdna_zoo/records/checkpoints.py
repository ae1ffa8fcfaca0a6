"""What training and release agree on about checkpoint files, and what is wrong with one."""

import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdna_zoo.errors import UserError

ARCHIVE = b"PK\x03\x04"  # the first bytes of the form that torch writes
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
    checkpoint = _load(path)
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        raise UserError(
            f"{path} is no training checkpoint: it has no 'state_dict'."
            " Give the .ckpt file that `kdna-zoo fit` wrote."
        )
    return checkpoint


def check_given_weights(arguments: Mapping[str, Any]) -> None:
    """Check the files that a network's arguments have timm load, as a checkpoint is checked.

    Args:
        arguments: Those of ``timm.create_model``.

    Raises:
        UserError: If one is damaged, or holds code.
    """
    configs = (arguments.get("pretrained_cfg_overlay"), arguments.get("pretrained_cfg"))
    files = [config.get("file") for config in configs if isinstance(config, Mapping)]
    for file in (arguments.get("checkpoint_path"), *files):
        # what is not there, timm names; and its other formats hold no code
        if file and Path(file).is_file() and Path(file).suffix not in (".safetensors", ".npz"):
            _load(Path(file))


def _load(path: Path) -> Any:
    """Load what torch has saved, after a look whether it is what was written."""
    try:
        check_whole(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # a broken file raises many things, KeyError and EOFError among them
        raise UserError(_why_not_loaded(path, error)) from error


def check_whole(path: Path) -> None:
    """Check the checksum (CRC-32) of each part of a file that torch wrote, which loads without it.

    A file of another form has none, and passes.

    Raises:
        UserError: If a part is not what was written.
    """
    with path.open("rb") as file:
        if file.read(len(ARCHIVE)) != ARCHIVE:
            return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # what is broken in an archive raises many things
        raise UserError(_why_not_loaded(path, error)) from error
    if damaged is not None:
        raise UserError(
            f"{path} is damaged: its part {damaged} is not what was written. Give a whole .ckpt"
            " file that `kdna-zoo fit` wrote, such as previous.ckpt beside last.ckpt."
        )


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
