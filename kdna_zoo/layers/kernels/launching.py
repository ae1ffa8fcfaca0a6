"""Launching kernels at little cost on the CPU, which is what a small layer is short of.

Triton's own launch reads all arguments anew each time, to see which of the compiled kernels fits
them. Here the kernels that fitted are kept by what decides it: the sizes, strides and types, of
tensors at addresses that are multiples of 16 bytes, as torch allocates them.
"""

from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

MOST = 4096  # sets of sizes to remember, such as of images of all sizes


class KernelError(RuntimeError):
    """A kernel could not be compiled or launched; its cause says why."""


Compiled = dict[str, Any]  # the compiled kernels that fit one set of sizes and types, by name


def aligned(*tensors: Tensor) -> bool:
    """Tell whether all tensors begin at a multiple of 16 bytes."""
    addresses = 0
    for t in tensors:
        addresses |= t.data_ptr()
    return addresses % 16 == 0


def remember(known: dict[Hashable, Any], key: Hashable, value: Any) -> None:
    """Keep what was found for a set of sizes and types; forget all when there are too many."""
    if len(known) >= MOST:
        known.clear()
    known[key] = value


def launch(compiled: Compiled, kernel: Any, grid: tuple[int, int, int], *args: Any) -> None:
    """Launch a kernel, the constants behind the other arguments.

    Raises:
        KernelError: If it cannot be compiled or launched.
    """
    name = kernel.__name__
    known = compiled.get(name)
    try:
        if known is not None:
            known[grid](*args)
        else:
            found = kernel[grid](*args)
            if found is not None:  # as of Triton's interpreter
                compiled[name] = found
    except Exception as error:  # of Triton, its compilers or the driver: any
        raise KernelError(f"kernel {name}") from error


def on_device_of(x: Tensor) -> AbstractContextManager[Any]:
    """Make a tensor's device the current one, on which Triton launches."""
    if x.device.type != "cuda" or x.device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(x.device)


def blocks(size: int, block: int) -> int:
    """Return how many blocks cover a size."""
    return -(-size // block)


def sums_of(x: Tensor) -> tuple[torch.dtype, Any]:
    """Return the type in which to add a tensor's numbers, as torch and as Triton name it."""
    import triton.language as tl

    if x.dtype == torch.float64:
        return torch.float64, tl.float64
    return torch.float32, tl.float32
