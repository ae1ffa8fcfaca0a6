"""Whether the kernels may run, and what happens when one fails.

They run on NVIDIA GPUs of compute capability 8.0 or higher. Off: by ``KDNA_ZOO_KERNELS=0`` in the
environment, within `plain_form`, or in this process after a kernel failed, with one warning.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from kdna_zoo.layers.compat import is_transformed_or_watched
from kdna_zoo.layers.kernels.launching import KernelError

SWITCH = "KDNA_ZOO_KERNELS"
CAPABILITY = (8, 0)  # Ampere: the first with bfloat16

device_types = {"cuda"}
_asked_for = ContextVar("_asked_for", default=True)
_failed = False


@contextmanager
def plain_form() -> Iterator[None]:
    """Compute by the plain form within this context, whatever the device."""
    token = _asked_for.set(False)
    try:
        yield
    finally:
        _asked_for.reset(token)


def may_run(x: Tensor) -> bool:
    """Tell whether kernels may run on a tensor's device, here and now."""
    if torch.compiler.is_compiling() or not is_ordinary(x) or x.device.type not in device_types:
        return False
    if _failed or not _asked_for.get() or not _is_able(x.device):
        return False
    return not is_transformed_or_watched() and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]


def is_ordinary(x: object) -> bool:
    """Tell whether this is a tensor with memory of its own: no proxy, fake or quantized one."""
    return type(x) is Tensor or type(x) is nn.Parameter


def has_hooks(module: nn.Module) -> bool:
    """Tell whether something has to be called when a module is."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def give_up(error: KernelError) -> None:
    """Run by the plain form from now on, and say so once."""
    global _failed
    if not _failed:
        _failed = True
        cause = error.__cause__ or error
        lines = str(cause).strip().splitlines() or [""]
        _warn(f"{error} of a child layer failed ({type(cause).__name__}: {lines[0]})")


@cache
def _is_able(device: torch.device) -> bool:
    if os.environ.get(SWITCH, "1") == "0":
        return False
    if device.type == "cuda":
        if torch.version.hip or torch.cuda.get_device_capability(device) < CAPABILITY:
            return False
        if find_spec("triton") is None:
            _warn("Triton is not installed")
            return False
    return True


def _warn(what: str) -> None:
    warnings.warn(
        f"{what}; KernelDNA's child layers compute the same by torch's operators, which takes some "
        f"forty launches for each in a training step instead of fourteen. {SWITCH}=0 in the "
        "environment leaves the kernels, and this warning, out",
        RuntimeWarning,
        stacklevel=2,
    )
