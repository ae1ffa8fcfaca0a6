"""The static modulation by kernels: W_j = W_p * (1 + a_f) * (1 + a_s), one launch either way.

The kernel comes out in autocast's type where that is on, so that the cast of an ordinary
convolution's weight is saved; its gradient likewise. A spatial attention takes one sum more.

Shapes: O filters, I input channels (over groups), K positions in the kernel.
"""

from collections.abc import Hashable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from kdna_zoo.layers.kernels.attention_plan import DTYPES
from kdna_zoo.layers.kernels.choice import give_up, has_hooks, is_ordinary, may_run, plain_form
from kdna_zoo.layers.kernels.launching import (
    Compiled,
    KernelError,
    aligned,
    blocks,
    launch,
    on_device_of,
    remember,
    sums_of,
)

if TYPE_CHECKING:
    from kdna_zoo.layers.static_modulation import StaticModulation

TILE = 1024  # elements of a filter at a time


class Plan(NamedTuple):
    """What one call of the modulation does, beside its tensors.

    Attributes:
        O: Filters.
        I: Input channels.
        K: Positions in the kernel.
        strides: Of I and K.
        dtype: Of the result.
        keep: Whether there will be a backward pass.
        sums: The type of sums.
        acc: The same, as Triton names it.
        forward: The compiled kernels of the forward pass.
        backward: Those of the backward pass, for each type of the result's gradient.
    """

    O: int
    I: int
    K: int
    strides: tuple[int, int]
    dtype: torch.dtype
    keep: bool
    sums: torch.dtype
    acc: Any
    forward: Compiled
    backward: dict[torch.dtype, Compiled]

    @property
    def tile(self) -> tuple[int, int]:
        """Input channels and positions at a time, powers of two."""
        positions = 1 << (self.K - 1).bit_length()
        return max(TILE // positions, 1), positions


def modulate(modulation: "StaticModulation", weight: Tensor) -> Tensor | None:
    """Return a child's kernel, or None where the plain form has to form it.

    It is of autocast's type where that is on, as a convolution would cast it.
    """
    if not may_run(weight) or has_hooks(modulation):
        return None
    filters, positions = modulation.filter_attn, modulation.spatial_attn
    plan = _read(weight, filters, positions)
    if plan is None:
        return None
    try:
        if plan.keep:
            kernel: Tensor = _Modulate.apply(weight, filters, positions, plan, modulation)
            return kernel
        return _forward(weight, filters, positions, plan)
    except KernelError as error:
        give_up(error)
        return None


def _read(weight: Tensor, filters: Tensor, positions: Tensor | None) -> Plan | None:
    """Return how a modulation runs; None if its tensors are not the usual ones."""
    tensors = [weight, filters] if positions is None else [weight, filters, positions]
    dtype, device, keep = weight.dtype, weight.device, False
    for t in tensors:
        if not is_ordinary(t) or t.dtype != dtype or t.device != device:
            return None
        keep = keep or t.requires_grad
    keep = keep and torch.is_grad_enabled()
    mixed = torch.is_autocast_enabled(device.type)
    result = torch.get_autocast_dtype(device.type) if mixed else dtype
    fits = aligned(*tensors)
    key = (weight.shape, weight.stride(), dtype, result, keep, positions is None, device)
    plan = _plans.get(key) if fits else None
    if plan is None:
        strides = _strides(weight)
        if strides is None or dtype not in DTYPES or (mixed and dtype == torch.float64):
            return None
        O, I = weight.shape[:2]
        K = weight.numel() // (O * I)
        plan = Plan(O, I, K, strides, result, keep, *sums_of(weight), {}, {})
        if fits:
            remember(_plans, key, plan)
    return plan


def _strides(weight: Tensor) -> tuple[int, int] | None:
    """Read a kernel's strides of I and K; None if it is empty or in no usual layout."""
    if weight.numel() == 0:
        return None
    if weight.is_contiguous():
        return weight[0, 0].numel(), 1
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        return 1, weight.shape[1]
    return None


_plans: dict[Hashable, Plan] = {}


class _Modulate(torch.autograd.Function):
    """W_p * (1 + a_f) * (1 + a_s) with its gradient."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        weight, filters, positions, ctx.plan, ctx.modulation = inputs
        ctx.save_for_backward(weight, filters, positions)
        return _forward(weight, filters, positions, ctx.plan)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        weight, filters, positions = inputs = ctx.saved_tensors
        if not torch.is_grad_enabled():  # no graph of the gradient is wanted
            try:
                return (*_backward(grad, weight, filters, positions, ctx.plan), None, None)
            except KernelError as error:
                give_up(error)
        found = _plain_gradient(grad, inputs, ctx.needs_input_grad[:3], ctx.modulation)
        return (*found, None, None)


def _forward(weight: Tensor, filters: Tensor, positions: Tensor | None, plan: Plan) -> Tensor:
    I, (block, block_k) = plan.I, plan.tile
    kernel = torch.empty_like(weight, dtype=plan.dtype)
    with on_device_of(weight):
        launch(
            plan.forward, _kernels().modulate, (plan.O, blocks(I, block), 1),
            weight, filters, positions, kernel, I, plan.K, *plan.strides,
            plan.acc, block, block_k, positions is not None,
        )  # fmt: skip
    return kernel


def _backward(
    grad: Tensor, weight: Tensor, filters: Tensor, positions: Tensor | None, plan: Plan
) -> tuple[Tensor | None, ...]:
    if grad.stride() != weight.stride():
        grad = torch.empty_like(weight, dtype=grad.dtype).copy_(grad)
    compiled = plan.backward.setdefault(grad.dtype, {}) if aligned(grad) else {}
    dweight, dfilters = torch.empty_like(weight), torch.empty_like(filters)
    parts = None if positions is None else weight.new_empty((plan.O, plan.K), dtype=plan.sums)
    with on_device_of(weight):
        launch(
            compiled, _kernels().modulate_backward, (plan.O, 1, 1),
            grad, weight, filters, positions, dweight, dfilters, parts, plan.I, plan.K,
            *plan.strides, plan.acc, *plan.tile, positions is not None,
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


@cache
def _kernels() -> ModuleType:
    from kdna_zoo.layers.kernels import modulation_kernels

    return modulation_kernels
