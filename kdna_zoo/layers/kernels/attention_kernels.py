"""Triton kernels of the channel attention, forward and backward.

The map x is read as (N, L, I), L positions of I channels, by its three strides, so that NCHW,
``channels_last`` and (N, ..., I) are one case. All sums run in one order, without atomics: the same
numbers each time. Only `kdna_zoo.layers.kernels` imports this, where Triton is known to be there.

Shapes: N batch, L positions, I input channels, R hidden channels.
"""

import triton
import triton.language as tl

# How the hidden vector is normalised.
NO_NORM = tl.constexpr(0)
BATCH = tl.constexpr(1)  # by given statistics of each hidden channel
LAYER = tl.constexpr(2)  # by the statistics of each vector


@triton.jit(do_not_specialize=["L"])
def pool(
    x, pooled, L, I, x_n, x_l, x_i, ACC: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_I: tl.constexpr
):
    """pooled[n, i] = mean over l of x[n, l, i]."""
    n = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK_I + tl.arange(0, BLOCK_I)
    total = tl.zeros((BLOCK_I,), ACC)
    for start in range(0, L, BLOCK_L):
        l = start + tl.arange(0, BLOCK_L)
        mask = (l < L)[:, None] & (i < I)[None, :]
        tile = tl.load(x + n * x_n + l[:, None] * x_l + i[None, :] * x_i, mask=mask, other=0.0)
        total += tl.sum(tile.to(ACC), 0)
    tl.store(pooled + n * I + i, total / L, mask=i < I)


@triton.jit(do_not_specialize=["N"])
def statistics(h, mean, var, N, R, ACC: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_R: tl.constexpr):
    """Mean and biased variance over n of h[n, r]."""
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    total = tl.zeros((BLOCK_R,), ACC)
    for start in range(0, N, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        mask = (n < N)[:, None] & (r < R)[None, :]
        total += tl.sum(tl.load(h + n[:, None] * R + r[None, :], mask=mask, other=0.0).to(ACC), 0)
    m = total / N
    total = tl.zeros((BLOCK_R,), ACC)
    for start in range(0, N, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        mask = (n < N)[:, None] & (r < R)[None, :]
        tile = tl.load(h + n[:, None] * R + r[None, :], mask=mask, other=0.0).to(ACC)
        away = tl.where(mask, tile - m[None, :], 0.0)
        total += tl.sum(away * away, 0)
    tl.store(mean + r, m, mask=r < R)
    tl.store(var + r, total / N, mask=r < R)


@triton.jit(do_not_specialize=["N", "L"])
def scale(
    x, h, bias1, mean, var, gamma, beta, fc2, bias2, y, gate, running_mean, running_var, batches,
    N, L, I, R, x_n, x_l, x_i,
    NORM: tl.constexpr, EPS: tl.constexpr, MOMENTUM: tl.constexpr, HAS_BIAS1: tl.constexpr,
    KEEP: tl.constexpr, UPDATE: tl.constexpr, ACC: tl.constexpr, BLOCK_L: tl.constexpr,
    BLOCK_I: tl.constexpr, BLOCK_R: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Y = x * sigmoid(FC2(ReLU(norm(h)))), y laid out as x.

    KEEP writes what the backward pass needs: the gate, and of a LAYER norm each mean and variance.
    UPDATE moves the running statistics of a batch norm, in the step's last kernel: if a kernel
    before it fails, nothing has changed.
    """
    n = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK_I + tl.arange(0, BLOCK_I)
    first = (tl.program_id(1) == 0) & (tl.program_id(2) == 0)

    if NORM == LAYER:
        total = tl.zeros((BLOCK_R,), ACC)
        for start in range(0, R, BLOCK_R):
            r = start + tl.arange(0, BLOCK_R)
            total += tl.load(h + n * R + r, mask=r < R, other=0.0).to(ACC)
        row_mean = tl.sum(total, 0) / R
        total = tl.zeros((BLOCK_R,), ACC)
        for start in range(0, R, BLOCK_R):
            r = start + tl.arange(0, BLOCK_R)
            hidden = tl.load(h + n * R + r, mask=r < R, other=0.0).to(ACC)
            away = tl.where(r < R, hidden - row_mean, 0.0)
            total += away * away
        row_var = tl.sum(total, 0) / R
        if KEEP and first:
            tl.store(mean + n, row_mean)
            tl.store(var + n, row_var)

    logit = tl.load(bias2 + i, mask=i < I, other=0.0).to(ACC)
    for start in range(0, R, BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        a = tl.load(h + n * R + r, mask=r < R, other=0.0).to(ACC)
        if HAS_BIAS1:
            a += tl.load(bias1 + r, mask=r < R, other=0.0).to(ACC)
        if NORM == BATCH:
            m = tl.load(mean + r, mask=r < R, other=0.0).to(ACC)
            v = tl.load(var + r, mask=r < R, other=1.0).to(ACC)
            a = (a - m) / tl.sqrt(v + EPS)
            if UPDATE and first and n == 0:
                old_mean = tl.load(running_mean + r, mask=r < R, other=0.0).to(ACC)
                old_var = tl.load(running_var + r, mask=r < R, other=0.0).to(ACC)
                unbiased = v * N / (N - 1)
                tl.store(running_mean + r, old_mean + MOMENTUM * (m - old_mean), mask=r < R)
                tl.store(running_var + r, old_var + MOMENTUM * (unbiased - old_var), mask=r < R)
        if NORM == LAYER:
            a = (a - row_mean) / tl.sqrt(row_var + EPS)
        if NORM != NO_NORM:
            a = a * tl.load(gamma + r, mask=r < R, other=0.0).to(ACC)
            a = a + tl.load(beta + r, mask=r < R, other=0.0).to(ACC)
        a = tl.where((a < 0) | (r >= R), 0.0, a)  # ReLU, of which a NaN stays one
        mask = (i < I)[:, None] & (r < R)[None, :]
        weight = tl.load(fc2 + i[:, None] * R + r[None, :], mask=mask, other=0.0).to(ACC)
        logit += tl.sum(weight * a[None, :], 1)
    g = 1 / (1 + tl.exp(-logit))

    if KEEP and tl.program_id(2) == 0:
        tl.store(gate + n * I + i, g, mask=i < I)
    if UPDATE and first and n == 0:
        tl.store(batches, tl.load(batches) + 1)

    for step in range(STEPS):
        l = (tl.program_id(2) * STEPS + step) * BLOCK_L + tl.arange(0, BLOCK_L)
        mask = (l < L)[:, None] & (i < I)[None, :]
        at = n * x_n + l[:, None] * x_l + i[None, :] * x_i
        tl.store(y + at, tl.load(x + at, mask=mask, other=0.0).to(ACC) * g[None, :], mask=mask)


@triton.jit(do_not_specialize=["L"])
def gate_backward(
    grad, x, gate, dz, L, I, x_n, x_l, x_i,
    ACC: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_I: tl.constexpr,
):  # fmt: skip
    """dz[n, i] = g (1 - g) times the sum over l of grad * x; grad is laid out as x."""
    n = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK_I + tl.arange(0, BLOCK_I)
    total = tl.zeros((BLOCK_I,), ACC)
    for start in range(0, L, BLOCK_L):
        l = start + tl.arange(0, BLOCK_L)
        mask = (l < L)[:, None] & (i < I)[None, :]
        at = n * x_n + l[:, None] * x_l + i[None, :] * x_i
        dy = tl.load(grad + at, mask=mask, other=0.0).to(ACC)
        total += tl.sum(dy * tl.load(x + at, mask=mask, other=0.0).to(ACC), 0)
    g = tl.load(gate + n * I + i, mask=i < I, other=0.0).to(ACC)
    tl.store(dz + n * I + i, total * g * (1 - g), mask=i < I)


@triton.jit(do_not_specialize=["N"])
def norm_backward(
    da, h, mean, var, gamma, beta, dz, a, dh, dgamma, dbeta, dbias2, N, R, I,
    NORM: tl.constexpr, EPS: tl.constexpr, FIXED: tl.constexpr, ACC: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """Backward through ReLU and norm; writes the hidden vector a once more, and FC2's bias.

    The programs have three parts to play: the columns of h (dgamma and dbeta, and of a batch norm
    dh), the columns of dz (dbias2), and of a layer norm the rows of h (dh). FIXED: the statistics
    of a batch norm are given and not the batch's.
    """
    columns = (R + BLOCK_R - 1) // BLOCK_R
    outputs = (I + BLOCK_R - 1) // BLOCK_R
    program = tl.program_id(0)
    if program < columns:
        r = program * BLOCK_R + tl.arange(0, BLOCK_R)
        scales = tl.load(gamma + r, mask=r < R, other=0.0).to(ACC)
        shifts = tl.load(beta + r, mask=r < R, other=0.0).to(ACC)
        m = tl.zeros((BLOCK_R,), ACC)
        rstd = tl.zeros((BLOCK_R,), ACC)
        if NORM == BATCH:
            m = tl.load(mean + r, mask=r < R, other=0.0).to(ACC)
            rstd = 1 / tl.sqrt(tl.load(var + r, mask=r < R, other=1.0).to(ACC) + EPS)
        total_scale = tl.zeros((BLOCK_R,), ACC)
        total_shift = tl.zeros((BLOCK_R,), ACC)
        for start in range(0, N, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            mask = (n < N)[:, None] & (r < R)[None, :]
            at = n[:, None] * R + r[None, :]
            hidden = tl.load(h + at, mask=mask, other=0.0).to(ACC)
            if NORM == BATCH:
                normed = (hidden - m[None, :]) * rstd[None, :]
            else:
                row_mean = tl.load(mean + n, mask=n < N, other=0.0).to(ACC)
                row_var = tl.load(var + n, mask=n < N, other=1.0).to(ACC)
                normed = (hidden - row_mean[:, None]) / tl.sqrt(row_var + EPS)[:, None]
            out = normed * scales[None, :] + shifts[None, :]
            grad = tl.load(da + at, mask=mask, other=0.0).to(ACC)
            grad = tl.where((out > 0) & mask, grad, 0.0)
            total_scale += tl.sum(grad * normed, 0)
            total_shift += tl.sum(grad, 0)
            tl.store(a + at, tl.where(out < 0, 0.0, out), mask=mask)
        tl.store(dgamma + r, total_scale, mask=r < R)
        tl.store(dbeta + r, total_shift, mask=r < R)
        if NORM == BATCH:
            for start in range(0, N, BLOCK_N):
                n = start + tl.arange(0, BLOCK_N)
                mask = (n < N)[:, None] & (r < R)[None, :]
                at = n[:, None] * R + r[None, :]
                hidden = tl.load(h + at, mask=mask, other=0.0).to(ACC)
                normed = (hidden - m[None, :]) * rstd[None, :]
                out = normed * scales[None, :] + shifts[None, :]
                grad = tl.load(da + at, mask=mask, other=0.0).to(ACC)
                grad = tl.where(out > 0, grad, 0.0)
                if not FIXED:
                    grad -= (total_shift[None, :] + normed * total_scale[None, :]) / N
                tl.store(dh + at, grad * (scales * rstd)[None, :], mask=mask)
    elif program < columns + outputs:
        i = (program - columns) * BLOCK_R + tl.arange(0, BLOCK_R)
        total = tl.zeros((BLOCK_R,), ACC)
        for start in range(0, N, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            mask = (n < N)[:, None] & (i < I)[None, :]
            at = n[:, None] * I + i[None, :]
            total += tl.sum(tl.load(dz + at, mask=mask, other=0.0).to(ACC), 0)
        tl.store(dbias2 + i, total, mask=i < I)
    elif NORM == LAYER:
        n = program - columns - outputs
        row_mean = tl.load(mean + n).to(ACC)
        row_rstd = 1 / tl.sqrt(tl.load(var + n).to(ACC) + EPS)
        total = tl.zeros((BLOCK_R,), ACC)
        total_normed = tl.zeros((BLOCK_R,), ACC)
        for start in range(0, R, BLOCK_R):
            r = start + tl.arange(0, BLOCK_R)
            scales = tl.load(gamma + r, mask=r < R, other=0.0).to(ACC)
            shifts = tl.load(beta + r, mask=r < R, other=0.0).to(ACC)
            hidden = tl.load(h + n * R + r, mask=r < R, other=0.0).to(ACC)
            normed = (hidden - row_mean) * row_rstd
            grad = tl.load(da + n * R + r, mask=r < R, other=0.0).to(ACC)
            grad = tl.where(normed * scales + shifts > 0, grad, 0.0) * scales
            total += grad
            total_normed += tl.where(r < R, grad * normed, 0.0)
        mean_grad = tl.sum(total, 0) / R
        mean_normed = tl.sum(total_normed, 0) / R
        for start in range(0, R, BLOCK_R):
            r = start + tl.arange(0, BLOCK_R)
            scales = tl.load(gamma + r, mask=r < R, other=0.0).to(ACC)
            shifts = tl.load(beta + r, mask=r < R, other=0.0).to(ACC)
            hidden = tl.load(h + n * R + r, mask=r < R, other=0.0).to(ACC)
            normed = (hidden - row_mean) * row_rstd
            grad = tl.load(da + n * R + r, mask=r < R, other=0.0).to(ACC)
            grad = tl.where(normed * scales + shifts > 0, grad, 0.0) * scales
            grad = (grad - mean_grad - normed * mean_normed) * row_rstd
            tl.store(dh + n * R + r, grad, mask=r < R)


@triton.jit(do_not_specialize=["L"])
def scale_backward(
    grad, gate, dpooled, dx, L, I, x_n, x_l, x_i,
    ACC: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_I: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Dx = grad * g + dpooled / L, both laid out as x."""
    n = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK_I + tl.arange(0, BLOCK_I)
    g = tl.load(gate + n * I + i, mask=i < I, other=0.0).to(ACC)
    share = tl.load(dpooled + n * I + i, mask=i < I, other=0.0).to(ACC) / L
    for step in range(STEPS):
        l = (tl.program_id(2) * STEPS + step) * BLOCK_L + tl.arange(0, BLOCK_L)
        mask = (l < L)[:, None] & (i < I)[None, :]
        at = n * x_n + l[:, None] * x_l + i[None, :] * x_i
        dy = tl.load(grad + at, mask=mask, other=0.0).to(ACC)
        tl.store(dx + at, dy * g[None, :] + share[None, :], mask=mask)
