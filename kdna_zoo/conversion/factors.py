"""A kernel shared by several layers, and their adapters, fitted together to what the layers were.

    W_m ~ P * f_m[o] * g_m[i] * s_m[k]        for each child m;  W_0 ~ P for the parent itself

f = 1 + a_f, s = 1 + a_s, and g is the channel attention at rest. The sum over all members m of

    w_m[o] (W_m - P f g s)_o S_m (W_m - P f g s)_o^T

is quadratic in each of P, f, g and s while the others stay, so each has a closed form, and they are
solved in turn (alternating least squares) until the sum falls no more. S_m holds the second moments
of what the layer sees, w_m how much an error of a filter matters; without images both come from the
weights. P's equations, one set for each filter, are solved by conjugate gradients.

Shapes: G groups, O filters of a group, I input channels of a group, K positions, D = I K.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

SMALLEST_GATE = 1e-2  # relative to the largest: a gate is a sigmoid, and never zero
ROUNDS, WIDTHS = 20, 12_000  # at most so many rounds, and so many numbers of a patch in all of them
STEPS = 8  # of conjugate gradients for P in each round


@dataclass
class Member:
    """A layer that is to use the shared kernel.

    Attributes:
        kernel: Its own, (G, O, D).
        moments: S, (G, D, D), or its diagonal (G, D).
        weight: How much an error of each filter matters, (G, O); all zero if its kernel is free.
        positions: Numbers of a patch for each input channel, K.
        filters: Whether it has a factor for each filter, and likewise the next two.
        inputs: For each input channel.
        spatial: For each position.
    """

    kernel: Tensor
    moments: Tensor
    weight: Tensor
    positions: int
    filters: bool = False
    inputs: bool = False
    spatial: bool = False
    f: Tensor = field(init=False)  # (G, O)
    g: Tensor = field(init=False)  # (G, I)
    s: Tensor = field(init=False)  # (K,)
    target: Tensor = field(init=False)  # W S, (G, O, D)

    def __post_init__(self) -> None:
        groups, filters, width = self.kernel.shape
        self.f = self.kernel.new_ones(groups, filters)
        self.g = self.kernel.new_ones(groups, width // self.positions)
        self.s = self.kernel.new_ones(self.positions)
        self.target = self.times(self.kernel)

    def times(self, rows: Tensor) -> Tensor:
        """Return rows (G, O, D) times S."""
        if self.moments.ndim == 3:
            return torch.bmm(rows, self.moments)
        return rows * self.moments[:, None]

    @property
    def scale(self) -> Tensor:
        """Return g s for each number of a patch, (G, 1, D)."""
        return (self.g[:, :, None] * self.s).flatten(1)[:, None]

    @property
    def variance(self) -> Tensor:
        """Return the diagonal of S, (G, D)."""
        return self.moments if self.moments.ndim == 2 else self.moments.diagonal(dim1=1, dim2=2)

    def error(self, parent: Tensor) -> Tensor:
        """Return the squared output error of each filter, (G, O)."""
        difference = self.kernel - parent * self.f[..., None] * self.scale
        return (difference * self.times(difference)).sum(dim=-1).clamp_min(0)

    def energy(self) -> Tensor:
        """Return the mean square of the output of each filter, (G, O)."""
        return (self.kernel * self.target).sum(dim=-1).clamp_min(0)

    def fit(self, parent: Tensor) -> None:
        """Fit each factor that it has to a parent."""
        if self.filters:
            rows = parent * self.scale
            self.f = _ratio((rows * self.target).sum(-1), (rows * self.times(rows)).sum(-1))
        if self.inputs:
            self.g = _positive(self.g, *self._equations(parent * self.f[..., None]))
        if self.spatial:
            self.s = self._spatial(parent * self.f[..., None])

    def _equations(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normal equations of g: (G, I, I), or (G, I) if diagonal, and (G, I)."""
        groups, _, width = rows.shape
        K = self.positions
        scaled = rows * self.s.repeat(width // K)
        right = (self.weight[..., None] * scaled * self.target).sum(1)
        right = right.view(groups, -1, K).sum(-1)  # (G, I)
        if self.moments.ndim == 2:
            left = (self.weight[..., None] * scaled.square()).sum(1) * self.moments
            return left.view(groups, -1, K).sum(-1), right
        pairs = torch.bmm((self.weight[..., None] * scaled).transpose(1, 2), scaled)  # (G, D, D)
        pairs *= self.moments
        I = width // K  # noqa: E741
        return pairs.view(groups, I, K, I, K).sum(dim=(2, 4)), right

    def _spatial(self, rows: Tensor) -> Tensor:
        groups, _, width = rows.shape
        K = self.positions
        scaled = rows * self.g.repeat_interleave(K, dim=1)[:, None]
        right = (self.weight[..., None] * scaled * self.target).sum(dim=(0, 1)).view(-1, K).sum(0)
        if self.moments.ndim == 2:
            left = (self.weight[..., None] * scaled.square()).sum(1) * self.moments
            return _ratio(right, left.view(-1, K).sum(0))
        pairs = torch.bmm((self.weight[..., None] * scaled).transpose(1, 2), scaled)
        pairs *= self.moments
        left = pairs.view(groups, width // K, K, width // K, K).sum(dim=(0, 1, 3))  # (K, K)
        return _solve(left, right)


def fit_together(
    members: list[Member],
    move_parent: bool = True,
    rounds: int | None = None,
    tolerance: float = 1e-4,
) -> Tensor:
    """Fit a shared kernel and the factors of its users, in turn.

    Args:
        members: The parent first, whose factors stay one.
        move_parent: Whether the parent's kernel may change.
        rounds: At most so many; None: as many as `ROUNDS` allows, fewer for wide layers, whose
            rounds cost the square of their width and whose first ones gain most.
        tolerance: Ends when the error falls by less than this part of it in a round.

    Returns:
        The shared kernel, (G, O, D); the factors are in the members.
    """
    parent, children = members[0].kernel.clone(), members[1:]
    if not bool(members[0].weight.any()):  # a kernel that nobody misses: begin with a child's
        parent = children[0].kernel.clone()
    if rounds is None:
        full = members[0].moments.ndim == 3
        rounds = max(3, min(ROUNDS, WIDTHS // parent.shape[2])) if full else ROUNDS
    before = float("inf")
    for _ in range(rounds):
        for child in children:
            child.fit(parent)
        if move_parent:
            parent = _shared(members, parent)
        now = loss(members, parent)
        if before - now <= tolerance * before:
            break
        before = now
    return parent


def loss(members: list[Member], parent: Tensor) -> float:
    """Return the weighted sum of all squared errors."""
    return float(sum((m.weight * m.error(parent)).sum().double() for m in members))


def _shared(members: list[Member], parent: Tensor) -> Tensor:
    """Return a better shared kernel, by conjugate gradients from the one there is."""
    users = [(m, (m.weight * m.f.square())[..., None] * m.scale) for m in members]  # (G, O, D)

    def left(rows: Tensor) -> Tensor:
        return _sum([scale * m.times(rows * m.scale) for m, scale in users])

    right = _sum([(m.weight * m.f)[..., None] * m.scale * m.target for m in members])
    diagonal = _sum([scale * m.scale * m.variance[:, None] for m, scale in users])
    inverse = torch.where(diagonal > 0, 1 / diagonal.clamp_min(1e-30), torch.zeros_like(diagonal))
    if all(m.moments.ndim == 2 for m in members):
        return torch.where(diagonal > 0, right * inverse, parent)
    x, r = parent, right - left(parent)
    z = inverse * r
    p, rz = z, (r * z).sum(-1, keepdim=True)  # each filter has equations of its own
    for _ in range(STEPS):
        ap = left(p)
        alpha = _ratio(rz, (p * ap).sum(-1, keepdim=True), 0.0)
        x, r = x + alpha * p, r - alpha * ap
        z = inverse * r
        new = (r * z).sum(-1, keepdim=True)
        p, rz = z + _ratio(new, rz, 0.0) * p, new
    return x


def _sum(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _positive(now: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Solve for factors that must be positive; what would be less is the smallest there may be."""
    if left.ndim == 2:
        found = torch.where(left > 0, right / left.clamp_min(1e-30), now)
    else:
        found = _solve(left, right)
        low = SMALLEST_GATE * found.amax(dim=-1, keepdim=True).clamp_min(1e-12)
        diagonal = left.diagonal(dim1=1, dim2=2).clamp_min(1e-30)
        found = torch.maximum(found, low)
        for _ in range(3):  # coordinate descent within the bound
            for i in range(found.shape[1]):
                residual = right[:, i] - (left[:, i] * found).sum(-1)
                found[:, i] = torch.maximum(found[:, i] + residual / diagonal[:, i], low[:, 0])
    low = SMALLEST_GATE * found.amax(dim=-1, keepdim=True).clamp_min(1e-12)
    return torch.maximum(found, low)


def _solve(left: Tensor, right: Tensor) -> Tensor:
    """Solve symmetric equations, with a little added to the diagonal."""
    size = left.shape[-1]
    diagonal = left.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None].clamp_min(1e-30)
    eye = torch.eye(size, dtype=left.dtype)
    equations = (left + 1e-5 * diagonal * eye).double()
    found: Tensor = torch.linalg.solve(equations, right.double()[..., None])
    return found[..., 0].to(right.dtype)


def _ratio(top: Tensor, bottom: Tensor, otherwise: float = 1.0) -> Tensor:
    """Divide, where there is something to divide by."""
    return torch.where(
        bottom > 1e-30, top / bottom.clamp_min(1e-30), torch.full_like(top, otherwise)
    )
