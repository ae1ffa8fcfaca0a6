"""The channel attention by kernels, with its backward in closed form.

    pooled = mean of x      h = FC1 pooled      a = ReLU(norm(h))      g = sigmoid(FC2 a)      y = x g

    dg = sum of dy x        dz = dg g (1 - g)   da = dz FC2    dh = norm' (da [a > 0])
    dx = dy g + dh FC1 / L  dFC2 = dz^T a       dFC1 = dh^T pooled

Four launches forward (pooling, FC1, statistics, scaling), three without the batch's statistics;
seven backward. The four products with a matrix are torch's own. Everything between x and y is in the
parameters' type, sums in float32 or float64, so that under autocast it is more exact than the plain
form.

Shapes: N batch, L positions, I input channels, R hidden channels.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

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
    from kdna_zoo.layers.channel_attention import ChannelAttention

TILE = {"BLOCK_L": 32, "BLOCK_I": 64}
STEPS = 4  # tiles that one program scales
HIDDEN = 32  # hidden channels, and rows, at a time
PARAMETERS = ("fc1.weight", "norm.weight", "norm.bias", "fc2.weight", "fc2.bias")
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class Layout(NamedTuple):
    """A map as (N, L, I), by its sizes and strides."""

    N: int
    L: int
    I: int  # noqa: E741
    strides: tuple[int, int, int]


class Call(NamedTuple):
    """What one call of the attention does, beside its tensors.

    Attributes:
        attention: The layer.
        norm: Constant of the kernels.
        fixed: Whether a batch norm's statistics are the running ones.
        dtype: Of the result.
        autocast: Autocast's type, if it is on.
    """

    attention: "ChannelAttention"
    norm: int
    fixed: bool
    dtype: torch.dtype
    autocast: torch.dtype | None


def attend(attention: "ChannelAttention", x: Tensor) -> Tensor | None:
    """Return x * g(x), or None where the plain form has to do it.

    The result is of autocast's type where that is on, as the layer behind would cast it.
    """
    if not may_run(x):
        return None
    call = _call(attention, x)
    if call is None or _layout(x, attention.channel_dim) is None:
        return None
    fc1, norm, fc2 = attention.fc1, attention.norm, attention.fc2
    inputs = (x, fc1.weight, norm.weight, norm.bias, fc2.weight, fc2.bias) if call.norm else (
        x, fc1.weight, None, None, fc2.weight, fc2.bias
    )  # fmt: skip
    try:
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs):
            if not call.norm:
                return None  # a fused network is for inference
            y: Tensor = _Attend.apply(*inputs, call)  # type: ignore[no-untyped-call]
            return y
        return _forward(*inputs, call, keep=False)[0]
    except KernelError as error:
        give_up(error)
        return None


def _call(attention: "ChannelAttention", x: Tensor) -> Call | None:
    """Read how this attention computes; None if a part is not the usual one."""
    fc1, norm, act, fc2 = attention.fc1, attention.norm, attention.act, attention.fc2
    if type(fc1) is not nn.Linear or type(fc2) is not nn.Linear or type(act) is not nn.ReLU:
        return None
    if any(has_hooks(part) for part in (fc1, norm, act, fc2)):
        return None
    tensors = [fc1.weight, fc2.weight, fc2.bias]
    kind, fixed = 0, True
    if type(norm) is nn.BatchNorm2d:
        if norm.momentum is None or norm.running_mean is None or norm.running_var is None:
            return None
        kind, fixed = 1, not norm.training
        tensors += [norm.weight, norm.bias, norm.running_mean, norm.running_var]
    elif type(norm) is nn.GroupNorm and norm.num_groups == 1:
        kind = 2
        tensors += [norm.weight, norm.bias]
    elif type(norm) is not nn.Identity:
        return None
    if fc1.bias is not None:
        if kind:
            return None
        tensors.append(fc1.bias)
    dtype = fc1.weight.dtype
    for t in tensors:
        if not is_ordinary(t) or t.dtype != dtype or t.device != x.device or not t.is_contiguous():
            return None
    autocast = None
    if torch.is_autocast_enabled(x.device.type):
        autocast = torch.get_autocast_dtype(x.device.type)
    if dtype not in DTYPES or (x.dtype != dtype if autocast is None else x.dtype not in DTYPES):
        return None
    if autocast and torch.float64 in (x.dtype, dtype):
        return None
    return Call(attention, kind, fixed, autocast or dtype, autocast)


def _layout(x: Tensor, channel_dim: int) -> Layout | None:
    """Read a map's layout; None if it is empty or in none of the usual ones."""
    if x.numel() == 0:
        return None
    N = x.shape[0]
    if channel_dim == -1:
        I = x.shape[-1]  # noqa: E741
        L = x.numel() // (N * I)
        return Layout(N, L, I, (L * I, I, 1)) if x.is_contiguous() else None
    I, L = x.shape[1], x.shape[2] * x.shape[3]  # noqa: E741
    if x.is_contiguous(memory_format=torch.channels_last):
        return Layout(N, L, I, (L * I, I, 1))
    return Layout(N, L, I, (L * I, 1, L)) if x.is_contiguous() else None


class _Attend(torch.autograd.Function):
    """x * g(x) with its gradient."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, call = inputs
        y, kept = _forward(*tensors, call, keep=True)
        ctx.call = call
        ctx.save_for_backward(*tensors, *kept)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        inputs, kept = ctx.saved_tensors[:6], ctx.saved_tensors[6:]
        needs = ctx.needs_input_grad[:6]
        if not torch.is_grad_enabled():  # no graph of the gradient is wanted
            try:
                return (*_backward(grad, inputs, kept, needs, ctx.call), None)
            except KernelError as error:
                give_up(error)
        return (*_plain_gradient(grad, inputs, needs, ctx.call), None)


def _forward(
    x: Tensor,
    fc1: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    fc2: Tensor,
    bias2: Tensor,
    call: Call,
    keep: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return y, and what the backward pass needs: pooled, h, mean, var, gate."""
    kernels, acc, acc_dtype = _kernels(), *_sums_in(x)
    norm: Any = call.attention.norm
    layout = _layout(x, call.attention.channel_dim)
    assert layout is not None
    N, L, I, strides = layout  # noqa: E741
    R = fc1.shape[0]
    update = call.norm == 1 and not call.fixed
    if update:
        call.attention._check_images(x)
    with _on(x.device):
        pooled = fc1.new_empty((N, I))
        launch(kernels.pool, (N, _blocks(I, TILE["BLOCK_I"])), x, pooled, L, I, *strides,
               ACC=acc, **TILE)  # fmt: skip
        h = _product(pooled, fc1.t())  # (N, R)
        if call.norm == 1 and call.fixed:
            mean, var = norm.running_mean, norm.running_var
        else:  # a batch norm's (R,), a layer norm's (N,), or not used
            count = R if call.norm == 1 else N
            mean, var = fc1.new_empty((2, count), dtype=acc_dtype).unbind()
        if update:
            launch(kernels.statistics, (_blocks(R, HIDDEN),), h, mean, var, N, R,
                   ACC=acc, BLOCK_N=HIDDEN, BLOCK_R=HIDDEN)  # fmt: skip
        y = torch.empty_like(x, dtype=call.dtype)
        gate = fc1.new_empty((N, I) if keep else (0,), dtype=acc_dtype)
        bias1 = call.attention.fc1.bias
        tracked = (None, None, None)
        if update:
            tracked = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        chunks = _blocks(L, TILE["BLOCK_L"] * STEPS)
        launch(
            kernels.scale, (N, _blocks(I, TILE["BLOCK_I"]), chunks),
            x, h, bias1, mean, var, gamma, beta, fc2, bias2, y, gate, *tracked,
            N, L, I, R, *strides,
            NORM=call.norm, EPS=norm.eps if call.norm else 0.0,
            MOMENTUM=norm.momentum if update else 0.0, HAS_BIAS1=bias1 is not None,
            KEEP=keep, UPDATE=update, ACC=acc, BLOCK_R=HIDDEN, STEPS=STEPS, **TILE,
        )  # fmt: skip
        if update:
            torch.autograd.graph.increment_version(tracked)
    return y, (pooled, h, mean, var, gate)


def _backward(
    grad: Tensor,
    inputs: tuple[Any, ...],
    kept: tuple[Tensor, ...],
    needs: tuple[bool, ...],
    call: Call,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of x and of the five parameters, None of those that need none."""
    x, fc1, gamma, beta, fc2, _ = inputs
    pooled, h, mean, var, gate = kept
    kernels, acc, _ = _kernels(), *_sums_in(x)
    dim = call.attention.channel_dim
    layout, grad_layout = _layout(x, dim), _layout(grad, dim)
    assert layout is not None
    if grad_layout is None:  # such as one that was expanded
        grad = torch.empty_like(x, dtype=grad.dtype).copy_(grad)
        grad_layout = layout
    N, L, I, strides = layout  # noqa: E741
    R = fc1.shape[0]
    grad_strides = grad_layout.strides
    with _on(x.device):
        dz = fc1.new_empty((N, I))
        launch(kernels.gate_backward, (N, _blocks(I, TILE["BLOCK_I"])),
               grad, x, gate, dz, L, I, *grad_strides, *strides, ACC=acc, **TILE)  # fmt: skip
        da = _product(dz, fc2)  # (N, R)
        a, dh = torch.empty_like(h), torch.empty_like(h)
        dgamma, dbeta, dbias2 = fc1.new_empty(R), fc1.new_empty(R), fc1.new_empty(I)
        rows = N if call.norm == 2 else 0
        launch(
            kernels.norm_backward, (_blocks(R, HIDDEN) + _blocks(I, HIDDEN) + rows,),
            da, h, mean, var, gamma, beta, dz, a, dh, dgamma, dbeta, dbias2, N, R, I,
            NORM=call.norm, EPS=call.attention.norm.eps, FIXED=call.fixed,
            ACC=acc, BLOCK_N=HIDDEN, BLOCK_R=HIDDEN,
        )  # fmt: skip
        dfc2 = _product(dz.t(), a) if needs[4] else None
        dfc1 = _product(dh.t(), pooled) if needs[1] else None
        dx = None
        if needs[0]:
            dpooled = _product(dh, fc1)  # (N, I)
            dx = torch.empty_like(x)
            chunks = _blocks(L, TILE["BLOCK_L"] * STEPS)
            launch(kernels.scale_backward, (N, _blocks(I, TILE["BLOCK_I"]), chunks),
                   grad, gate, dpooled, dx, L, I, *grad_strides, *strides,
                   ACC=acc, STEPS=STEPS, **TILE)  # fmt: skip
    return dx, dfc1, dgamma, dbeta, dfc2, dbias2


def _plain_gradient(
    grad: Tensor, inputs: tuple[Any, ...], needs: tuple[bool, ...], call: Call
) -> tuple[Tensor | None, ...]:
    """Return what `_backward` does by the plain form, which can be differentiated once more."""
    x, *parameters = inputs
    state = {name: buffer.clone() for name, buffer in call.attention.named_buffers()}
    state |= dict(zip(PARAMETERS, parameters, strict=True))
    mixed = torch.autocast(x.device.type, call.autocast, enabled=call.autocast is not None)
    again = torch.is_grad_enabled()
    with torch.enable_grad(), plain_form(), mixed:
        y = functional_call(call.attention, state, (x,)).to(call.dtype)
    wanted = [t for t, need in zip(inputs, needs, strict=True) if need]
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=again))
    return tuple(next(found) if need else None for need in needs)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply two matrices in their own type: autocast leaves calls with ``out`` alone."""
    return torch.mm(a, b, out=a.new_empty((a.shape[0], b.shape[1])))


def _sums_in(x: Tensor) -> tuple[Any, torch.dtype]:
    """Return the type of sums, as Triton and as torch name it."""
    import triton.language as tl

    return (tl.float64, x.dtype) if x.dtype == torch.float64 else (tl.float32, torch.float32)


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Make a device the current one, on which Triton launches."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(device)


def _blocks(size: int, block: int) -> int:
    return -(-size // block)


@cache
def _kernels() -> ModuleType:
    from kdna_zoo.layers.kernels import attention_kernels

    return attention_kernels
