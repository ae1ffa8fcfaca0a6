"""The unbiased estimate of HSIC from mini-batches, for all pairs of layers at once.

Source: Nguyen, Raghu, Kornblith, arXiv 2010.15327, section 3, with HSIC_1 of Song et al. 2012. For
the Gram matrices K = X X^T and L = Y Y^T of N images, with zeros put on their diagonals,

    HSIC_1(K, L) = (tr(K L) + 1'K1 1'L1 / ((N - 1)(N - 2)) - 2 1'K L1 / (N - 2)) / (N (N - 3))

That is <U(K), U(L)> / (N (N - 3)), where U takes the means of rows and columns away (Székely and
Rizzo 2014); so the values of all pairs of layers are one matrix product.

Shapes: N images of a batch, D features of a layer, A and B layers of the two networks.
"""

import torch
from torch import Tensor

SMALLEST_BATCH = 4  # images: HSIC_1 divides by N - 3
CHUNK = 2**16  # features that are in double precision at a time
CONSTANT = 1e-12  # part of the squares that may differ between images by float32's rounding alone


def gram(outputs: Tensor, images: int) -> Tensor:
    """Return the products of a layer's outputs for all pairs of images, in float64.

    The features are centred first. That changes no HSIC_1, and loses no digits where their mean is
    large. Outputs that are the same for all images give zeros.

    Args:
        outputs: (N, ...), or (N * parts, ...) with the parts of an image side by side.
        images: N.

    Returns:
        (N, N) on the outputs' device.
    """
    flat = outputs.detach().reshape(images, -1)  # (N, D)
    products = torch.zeros(images, images, dtype=torch.float64, device=flat.device)
    squares = torch.zeros((), dtype=torch.float64, device=flat.device)
    for part in torch.split(flat, CHUNK, dim=1):
        x = part.double()
        squares += x.square().sum()
        x = x - x.mean(dim=0)
        products.addmm_(x, x.T)
    return torch.zeros_like(products) if products.trace() <= CONSTANT * squares else products


def u_centre(grams: Tensor) -> Tensor:
    """Return U(K) of each Gram matrix: (..., N, N) with a zero diagonal, and rows that sum to 0."""
    N = grams.shape[-1]
    off = grams - torch.diag_embed(grams.diagonal(dim1=-2, dim2=-1))
    rows = off.sum(dim=-1, keepdim=True)  # (..., N, 1)
    total = rows.sum(dim=-2, keepdim=True)  # (..., 1, 1)
    centred = off - (rows + rows.transpose(-2, -1)) / (N - 2) + total / ((N - 1) * (N - 2))
    return centred - torch.diag_embed(centred.diagonal(dim1=-2, dim2=-1))


class HsicSums:
    """Adds up the HSIC_1 of mini-batches; holds no more than three sums for any number of images.

    A batch counts by its images, so that an incomplete last one counts for less. Each batch gives
    an unbiased estimate, so any such mean of them is one too.

    Attributes:
        images: Images so far.
        batches: Batches so far.
    """

    def __init__(self) -> None:
        self.images = self.batches = 0
        self._cross: Tensor | float = 0.0  # (A, B)
        self._rows: Tensor | float = 0.0  # (A,)
        self._columns: Tensor | float = 0.0  # (B,)

    def add(self, rows: Tensor, columns: Tensor) -> None:
        """Add a batch.

        Args:
            rows: Gram matrices of the one network's layers, (A, N, N), float64.
            columns: Those of the other's for the same images, (B, N, N).
        """
        N = rows.shape[-1]
        x, y = (u_centre(grams).flatten(1) for grams in (rows, columns))  # (A, N N), (B, N N)
        scale = 1 / (N - 3)  # N times 1 / (N (N - 3)): a batch counts by its images
        self._cross = self._cross + scale * (x @ y.T)
        self._rows = self._rows + scale * x.square().sum(dim=1)
        self._columns = self._columns + scale * y.square().sum(dim=1)
        self.images += N
        self.batches += 1

    def cka(self) -> Tensor:
        """Return HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)) of the means over the batches.

        Returns:
            (A, B), at most 1; NaN for a layer that gives the same for all images.
        """
        rows, columns = torch.as_tensor(self._rows), torch.as_tensor(self._columns)
        return torch.as_tensor(self._cross) / (rows[:, None] * columns).sqrt()
