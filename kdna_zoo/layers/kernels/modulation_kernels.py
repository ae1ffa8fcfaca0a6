"""Triton kernels of the static modulation, forward and backward, each one pass over the kernel.

    W_j = W_p * s,  s = f[o] * p[k]      with  f = 1 + a_f,  p = 1 + a_s
    dW_p = dW_j * s,  da_f[o] = sum of dW_j * W_p * p[k],  da_s[k] = sum of dW_j * W_p * f[o]

A program has one filter o, which is a stretch of memory of its own both in the contiguous format
and in ``channels_last``. The sum over filters of da_s is left to the caller, so that it is taken in
one order. Only `kdna_zoo.layers.kernels` imports this, where Triton is known to be there.

Shapes: O filters, I input channels (over groups), K positions in the kernel.
"""

import triton
import triton.language as tl


@triton.jit
def modulate(
    weight, filters, positions, kernel, I, K, w_i, w_k,
    ACC: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_K: tl.constexpr, SPATIAL: tl.constexpr,
):  # fmt: skip
    """kernel[o] = weight[o] * (1 + a_f[o]) * (1 + a_s)."""
    o = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK_I + tl.arange(0, BLOCK_I)
    k = tl.arange(0, BLOCK_K)
    factor = tl.zeros((BLOCK_K,), ACC) + (1 + tl.load(filters + o).to(ACC))
    if SPATIAL:
        factor *= 1 + tl.load(positions + k, mask=k < K, other=0.0).to(ACC)
    at = o * I * K + i[None, :] * w_i + k[:, None] * w_k
    mask = (i < I)[None, :] & (k < K)[:, None]
    tile = tl.load(weight + at, mask=mask, other=0.0).to(ACC)
    tl.store(kernel + at, tile * factor[:, None], mask=mask)


@triton.jit
def modulate_backward(
    grad, weight, filters, positions, dweight, dfilters, dpositions, I, K, w_i, w_k,
    ACC: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_K: tl.constexpr, SPATIAL: tl.constexpr,
):  # fmt: skip
    """dweight[o], dfilters[o], and the part of filter o in dpositions, (O, K)."""
    o = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, BLOCK_K)
    f = 1 + tl.load(filters + o).to(ACC)
    p = tl.zeros((BLOCK_K,), ACC) + 1
    if SPATIAL:
        p += tl.load(positions + k, mask=k < K, other=0.0).to(ACC)
    factor = p * f
    total = tl.zeros((BLOCK_K,), ACC)
    for start in range(0, I, BLOCK_I):
        i = start + tl.arange(0, BLOCK_I)
        at = o * I * K + i[None, :] * w_i + k[:, None] * w_k
        mask = (i < I)[None, :] & (k < K)[:, None]
        dkernel = tl.load(grad + at, mask=mask, other=0.0).to(ACC)
        total += tl.sum(dkernel * tl.load(weight + at, mask=mask, other=0.0).to(ACC), 1)
        tl.store(dweight + at, dkernel * factor[:, None], mask=mask)
    tl.store(dfilters + o, tl.sum(total * p, 0))
    if SPATIAL:
        tl.store(dpositions + o * K + k, total * f, mask=k < K)
