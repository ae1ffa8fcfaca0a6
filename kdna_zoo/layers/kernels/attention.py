"""The channel attention by kernels, with its backward in closed form.

    pooled = mean of x    h = FC1 pooled    a = ReLU(norm(h))    g = sigmoid(FC2 a)    y = x g

    dg = sum of dy x        dz = dg g (1 - g)   da = dz FC2    dh = norm' (da [a > 0])
    dx = dy g + dh FC1 / L                      dFC2 = dz^T a  dFC1 = dh^T pooled

Four launches forward (pooling, FC1, statistics, scaling), three without the batch's statistics;
seven backward. The products of matrices are torch's own. Everything between x and y is in the
parameters' type, sums in float32 or float64: under autocast it is more exact than the plain form.

Shapes: N batch, L positions, I input channels, R hidden channels.
"""

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call

from kdna_zoo.layers.kernels.attention_plan import HIDDEN, STEPS, TILE_I, TILE_L, Plan, read
from kdna_zoo.layers.kernels.choice import give_up, may_run, plain_form
from kdna_zoo.layers.kernels.launching import KernelError, blocks, launch, on_device_of

if TYPE_CHECKING:
    from kdna_zoo.layers.channel_attention import ChannelAttention

PARAMETERS = ("fc1.weight", "norm.weight", "norm.bias", "fc2.weight", "fc2.bias")


def attend(attention: "ChannelAttention", x: Tensor) -> Tensor | None:
    """Return x * g(x), or None where the plain form has to do it.

    The result is of autocast's type where that is on, as the layer behind would cast it.
    """
    if not may_run(x):
        return None
    found = read(attention, x)
    if found is None:
        return None
    plan, parameters = found
    try:
        if plan.keep:
            if not plan.norm:
                return None  # a fused network is for inference
            y: Tensor = _Attend.apply(x, *parameters, plan, attention)
            return y
        return _forward(x, *parameters, plan, attention)[0]
    except KernelError as error:
        give_up(error)
        return None


class _Attend(torch.autograd.Function):
    """x * g(x) with its gradient."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        y, kept = _forward(*inputs)
        *tensors, ctx.plan, ctx.attention = inputs
        ctx.save_for_backward(*tensors, *kept)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        saved = ctx.saved_tensors
        inputs, kept = saved[:6], saved[6:]
        needs = ctx.needs_input_grad[:6]
        if not torch.is_grad_enabled():  # no graph of the gradient is wanted
            try:
                return (*_backward(grad, inputs, kept, needs, ctx.plan), None, None)
            except KernelError as error:
                give_up(error)
        return (*_plain_gradient(grad, inputs, needs, ctx.plan, ctx.attention), None, None)


def _forward(
    x: Tensor,
    fc1: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    fc2: Tensor,
    bias2: Tensor,
    plan: Plan,
    attention: "ChannelAttention",
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return y, and what the backward pass needs: pooled, h, mean, var, gate."""
    kernels, acc, compiled = _kernels(), plan.acc, plan.forward
    N, L, I, R, strides = plan.N, plan.L, plan.I, plan.R, plan.strides
    norm: Any = attention.norm
    running_mean: Any = None
    running_var = batches = bias1 = running_mean
    if plan.updates:
        attention._check_images(x)
        running_mean, running_var = norm.running_mean, norm.running_var
        batches = norm.num_batches_tracked
    elif not plan.norm:
        bias1 = attention.fc1.bias
    with on_device_of(x):
        pooled = fc1.new_empty((N, I))
        launch(compiled, kernels.pool, plan.grid, x, pooled, L, I, *strides, acc, TILE_L, TILE_I)
        h = fc1.new_empty((N, R))
        torch.mm(pooled, fc1.t(), out=h)  # autocast leaves calls with `out` alone
        if plan.norm == 1 and not plan.updates:
            mean, var = norm.running_mean, norm.running_var
        else:  # a batch norm's (R,), a layer norm's (N,), or not used
            mean, var = fc1.new_empty((2, R if plan.norm == 1 else N), dtype=plan.sums).unbind()
        if plan.updates:
            launch(
                compiled, kernels.statistics, (blocks(R, HIDDEN), 1, 1),
                h, mean, var, N, R, acc, HIDDEN, HIDDEN,
            )  # fmt: skip
        y = torch.empty_like(x, dtype=plan.dtype)
        gate = torch.empty_like(pooled, dtype=plan.sums) if plan.keep else None
        launch(
            compiled, kernels.scale, plan.scale_grid,
            x, h, bias1, mean, var, gamma, beta, fc2, bias2, y, gate, running_mean, running_var,
            batches, N, L, I, R, *strides, plan.norm, plan.eps, plan.momentum,
            bias1 is not None, plan.keep, plan.updates, acc, TILE_L, TILE_I, HIDDEN, STEPS,
        )  # fmt: skip
        if plan.updates:
            torch.autograd.graph.increment_version((running_mean, running_var, batches))
    return y, (pooled, h, mean, var, gate) if gate is not None else ()


def _backward(
    grad: Tensor,
    inputs: tuple[Any, ...],
    kept: tuple[Tensor, ...],
    needs: tuple[bool, ...],
    plan: Plan,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of x and of the five parameters, None of those that need none."""
    x, fc1, gamma, beta, fc2, bias2 = inputs
    pooled, h, mean, var, gate = kept
    kernels, acc = _kernels(), plan.acc
    N, L, I, R, strides = plan.N, plan.L, plan.I, plan.R, plan.strides
    if grad.stride() != x.stride():  # such as one that was expanded
        grad = torch.empty_like(x, dtype=grad.dtype).copy_(grad)
    compiled = plan.backward_for(grad)
    with on_device_of(x):
        dz = torch.empty_like(pooled)
        launch(
            compiled, kernels.gate_backward, plan.grid,
            grad, x, gate, dz, L, I, *strides, acc, TILE_L, TILE_I,
        )  # fmt: skip
        da = _product(dz, fc2, h)
        a, dh = torch.empty_like(h), torch.empty_like(h)
        dgamma, dbeta, dbias2 = map(torch.empty_like, (gamma, beta, bias2))
        launch(
            compiled, kernels.norm_backward, plan.norm_backward_grid,
            da, h, mean, var, gamma, beta, dz, a, dh, dgamma, dbeta, dbias2, N, R, I,
            plan.norm, plan.eps, not plan.updates, acc, HIDDEN, HIDDEN,
        )  # fmt: skip
        dfc2 = _product(dz.t(), a, fc2) if needs[4] else None
        dfc1 = _product(dh.t(), pooled, fc1) if needs[1] else None
        dx = None
        if needs[0]:
            dpooled = _product(dh, fc1, pooled)
            dx = torch.empty_like(x)
            launch(
                compiled, kernels.scale_backward, plan.scale_grid,
                grad, gate, dpooled, dx, L, I, *strides, acc, TILE_L, TILE_I, STEPS,
            )  # fmt: skip
    return dx, dfc1, dgamma, dbeta, dfc2, dbias2


def _plain_gradient(
    grad: Tensor,
    inputs: tuple[Any, ...],
    needs: tuple[bool, ...],
    plan: Plan,
    attention: "ChannelAttention",
) -> tuple[Tensor | None, ...]:
    """Return what `_backward` does by the plain form, which can be differentiated once more."""
    x, *parameters = inputs
    state = {name: buffer.clone() for name, buffer in attention.named_buffers()}
    state |= dict(zip(PARAMETERS, parameters, strict=True))
    mixed = torch.autocast(x.device.type, plan.autocast, enabled=plan.autocast is not None)
    again = torch.is_grad_enabled()
    with torch.enable_grad(), plain_form(), mixed:
        y = functional_call(attention, state, (x,)).to(plan.dtype)
    wanted = [t for t, need in zip(inputs, needs, strict=True) if need]
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=again))
    return tuple(next(found) if need else None for need in needs)


def _product(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """Multiply two matrices in their own type, into a matrix like a third."""
    return torch.mm(a, b, out=torch.empty_like(like))


@cache
def _kernels() -> ModuleType:
    from kdna_zoo.layers.kernels import attention_kernels

    return attention_kernels
