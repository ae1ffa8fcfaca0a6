"""The equations of KernelDNA as plain loops: slow, and too simple to be wrong."""

import math

import torch
from torch import Tensor


def channel_gate(
    x: Tensor, fc1: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, eps: float,
    fc2: Tensor, bias2: Tensor,
) -> Tensor:  # fmt: skip
    """g(x) = sigmoid(FC2(ReLU(BN(FC1(GAP(x)))))) with given BN statistics, (N, I)."""
    N, C, H, W = x.shape
    gates = torch.zeros(N, C, dtype=x.dtype)
    for n in range(N):
        pooled = [sum(float(v) for v in x[n, c].flatten()) / (H * W) for c in range(C)]
        hidden = []
        for r in range(fc1.shape[0]):
            h = sum(float(fc1[r, c]) * pooled[c] for c in range(C))
            h = (h - float(mean[r])) / math.sqrt(float(var[r]) + eps)
            hidden.append(max(h * float(gamma[r]) + float(beta[r]), 0.0))
        for c in range(C):
            z = float(bias2[c]) + sum(float(fc2[c, r]) * h for r, h in enumerate(hidden))
            gates[n, c] = 1 / (1 + math.exp(-z))
    return gates


def child_kernel(parent: Tensor, a_f: Tensor, a_s: Tensor | None) -> Tensor:
    """W_j = W_p * (1 + a_f) * (1 + a_s), element by element."""
    O, C, KH, KW = parent.shape  # noqa: E741
    kernel = torch.zeros_like(parent)
    for o in range(O):
        for c in range(C):
            for i in range(KH):
                for j in range(KW):
                    spatial = 0.0 if a_s is None else float(a_s[i * KW + j])
                    kernel[o, c, i, j] = float(parent[o, c, i, j]) * (1 + float(a_f[o]))
                    kernel[o, c, i, j] *= 1 + spatial
    return kernel


def conv2d(
    x: Tensor, kernel: Tensor, bias: Tensor | None, stride: int, padding: int, dilation: int,
    groups: int,
) -> Tensor:  # fmt: skip
    """Zero-padded 2-D convolution as seven loops."""
    N, _, H, W = x.shape
    O, C, KH, KW = kernel.shape  # noqa: E741
    H_out = (H + 2 * padding - dilation * (KH - 1) - 1) // stride + 1
    W_out = (W + 2 * padding - dilation * (KW - 1) - 1) // stride + 1
    y = torch.zeros(N, O, H_out, W_out, dtype=x.dtype)
    for n in range(N):
        for o in range(O):
            first = (o // (O // groups)) * C  # first input channel of this group
            for h in range(H_out):
                for w in range(W_out):
                    total = 0.0 if bias is None else float(bias[o])
                    for c in range(C):
                        for i in range(KH):
                            for j in range(KW):
                                row = h * stride + i * dilation - padding
                                col = w * stride + j * dilation - padding
                                if 0 <= row < H and 0 <= col < W:
                                    value = float(x[n, first + c, row, col])
                                    total += value * float(kernel[o, c, i, j])
                    y[n, o, h, w] = total
    return y
