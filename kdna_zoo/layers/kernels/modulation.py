"""The static modulation by kernels: W_j = W_p * (1 + a_f) * (1 + a_s), one launch either way.

The kernel comes out in autocast's type where that is on, so that the cast of an ordinary
convolution's weight is saved; its gradient likewise. A spatial attention takes one sum more.

Shapes: O filters, I input channels (over groups), K positions in the kernel.
"""

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from kdna_zoo.layers.kernels.attention import DTYPES, _on, _sums_in
from kdna_zoo.layers.kernels.choice import (
    KernelError,
    give_up,
    has_hooks,
    is_ordinary,
    launch,
    may_run,
    plain_form,
)

if TYPE_CHECKING:
    from kdna_zoo.layers.static_modulation import StaticModulation

TILE = 1024  # elements of a filter at a time


class Layout(NamedTuple):
    """A kernel as (O, I, K), each filter a stretch of memory of its own."""

    O: int  # noqa: E741
    I: int  # noqa: E741
    K: int
    strides: tuple[int, int]  # of I and K


def modulate(modulation: "StaticModulation", weight: Tensor) -> Tensor | None:
    """Return a child's kernel, or None where the plain form has to form it.

    It is of autocast's type where that is on, as a convolution would cast it.
    """
    if not may_run(weight) or has_hooks(modulation):
        return None
    tensors = [modulation.filter_attn, modulation.spatial_attn]
    for t in tensors:
        if t is not None and not (
            is_ordinary(t) and t.dtype == weight.dtype and t.device == weight.device
        ):
            return None
    dtype = weight.dtype
    if torch.is_autocast_enabled(weight.device.type):
        dtype = torch.get_autocast_dtype(weight.device.type)
    mixed = dtype != weight.dtype
    if weight.dtype not in DTYPES or (mixed and weight.dtype == torch.float64):
        return None
    if _layout(weight) is None:
        return None
    try:
        if torch.is_grad_enabled() and any(
            t is not None and t.requires_grad for t in (weight, *tensors)
        ):
            kernel: Tensor = _Modulate.apply(weight, *tensors, modulation, dtype)  # type: ignore[no-untyped-call]
            return kernel
        return _forward(weight, *tensors, dtype)
    except KernelError as error:
        give_up(error)
        return None


def _layout(weight: Tensor) -> Layout | None:
    """Read a kernel's layout; None if it is empty or in none of the usual ones."""
    if weight.numel() == 0:
        return None
    O, I = weight.shape[:2]  # noqa: E741
    K = weight[0, 0].numel()
    if weight.is_contiguous():
        return Layout(O, I, K, (K, 1))
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        return Layout(O, I, K, (1, I))
    return None


class _Modulate(torch.autograd.Function):
    """W_p * (1 + a_f) * (1 + a_s) with its gradient."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, ctx.modulation, dtype = inputs
        ctx.save_for_backward(*tensors)
        return _forward(*tensors, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        if not torch.is_grad_enabled():  # no graph of the gradient is wanted
            try:
                return (*_backward(grad, *ctx.saved_tensors), None, None)
            except KernelError as error:
                give_up(error)
        needs = ctx.needs_input_grad[:3]
        found = _plain_gradient(grad, ctx.saved_tensors, needs, ctx.modulation)
        return (*found, None, None)


def _forward(
    weight: Tensor, filters: Tensor, positions: Tensor | None, dtype: torch.dtype
) -> Tensor:
    layout = _layout(weight)
    assert layout is not None
    O, I, K, strides = layout  # noqa: E741
    kernel = torch.empty_like(weight, dtype=dtype)
    blocks = _blocks(K, positions)
    with _on(weight.device):
        launch(
            _kernels().modulate, (O, -(-I // blocks["BLOCK_I"])),
            weight, filters, positions, kernel, I, K, *strides,
            ACC=_sums_in(weight)[0], **blocks,
        )  # fmt: skip
    return kernel


def _backward(
    grad: Tensor, weight: Tensor, filters: Tensor, positions: Tensor | None
) -> tuple[Tensor | None, ...]:
    layout = _layout(weight)
    assert layout is not None
    if _layout(grad) != layout:
        grad = torch.empty_like(weight, dtype=grad.dtype).copy_(grad)
    O, I, K, strides = layout  # noqa: E741
    acc, acc_dtype = _sums_in(weight)
    dweight, dfilters = torch.empty_like(weight), torch.empty_like(filters)
    parts = None if positions is None else weight.new_empty((O, K), dtype=acc_dtype)
    with _on(weight.device):
        launch(
            _kernels().modulate_backward, (O,),
            grad, weight, filters, positions, dweight, dfilters, parts, I, K, *strides,
            ACC=acc, **_blocks(K, positions),
        )  # fmt: skip
    return dweight, dfilters, None if parts is None else parts.sum(0, dtype=weight.dtype)


def _plain_gradient(
    grad: Tensor,
    inputs: tuple[Any, ...],
    needs: tuple[bool, ...],
    modulation: "StaticModulation",
) -> tuple[Tensor | None, ...]:
    """Return what `_backward` does by the plain form, which can be differentiated once more."""
    weight, filters, positions = inputs
    state = {"filter_attn": filters, "spatial_attn": positions}
    again = torch.is_grad_enabled()
    with torch.enable_grad(), plain_form():
        given = {name: t for name, t in state.items() if t is not None}
        kernel = functional_call(modulation, given, (weight,)).to(grad.dtype)
    wanted = [t for t, need in zip(inputs, needs, strict=True) if need]
    found = iter(torch.autograd.grad(kernel, wanted, grad, create_graph=again))
    return tuple(next(found) if need else None for need in needs)


def _blocks(K: int, positions: Tensor | None) -> dict[str, Any]:
    block = 1 << (K - 1).bit_length()  # the next power of two
    return {
        "BLOCK_K": block,
        "BLOCK_I": max(TILE // block, 1),
        "SPATIAL": positions is not None,
    }


@cache
def _kernels() -> ModuleType:
    from kdna_zoo.layers.kernels import modulation_kernels

    return modulation_kernels
