"""CKA as it is defined, in plain loops and in feature space: nothing shared with the code."""

from itertools import permutations

import torch
from torch import Tensor


def hsic_of_quadruples(k: Tensor, l: Tensor) -> float:  # noqa: E741
    """HSIC_1 as the U-statistic of Song et al. 2012: the mean over all quadruples of images."""
    quadruples = list(permutations(range(len(k)), 4))
    total = sum(float(k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q])) for i, j, q, r in quadruples)
    return total / len(quadruples)


def hsic_by_formula(x: Tensor, y: Tensor) -> float:
    """HSIC_1 by the paper's formula, for features (N, D)."""
    x, y = x.flatten(1).double(), y.flatten(1).double()
    N = len(x)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    k.fill_diagonal_(0)
    l.fill_diagonal_(0)
    ones = torch.ones(N, dtype=torch.float64)
    first = (k @ l).trace()
    second = (ones @ k @ ones) * (ones @ l @ ones) / ((N - 1) * (N - 2))
    third = 2 / (N - 2) * (ones @ k @ l @ ones)
    return float(first + second - third) / (N * (N - 3))


def plain_cka(x: Tensor, y: Tensor) -> float:
    """Kornblith et al. 2019, equation 4: of all images at once, in feature space; biased."""
    x, y = x.flatten(1).double(), y.flatten(1).double()
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return float((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()))


def minibatch_cka(batches: list[tuple[Tensor, Tensor]]) -> float:
    """Nguyen et al. 2021, equation 2, each batch weighted by its images."""
    xy, xx, yy = (
        sum(len(b[0]) * hsic_by_formula(b[i], b[j]) for b in batches)
        for i, j in ((0, 1), (0, 0), (1, 1))
    )
    return float(xy / (xx * yy) ** 0.5)
