"""Children for the tests of the kernels, and their gradients by kernels and by the plain form."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from kdna_zoo.layers import ChildConv2d, ChildLinear, NormName
from kdna_zoo.layers.kernels import plain_form
from tests.layers.test_child_conv import perturb

KINDS = ("3x3", "1x1", "linear")


def make(
    kind: str, norm: NormName = "batch", dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[nn.ModuleDict, Tensor]:
    """A child with its parent, and an input of 3 images."""
    torch.manual_seed(0)
    child: nn.Module
    parent: nn.Module
    if kind == "linear":
        parent = nn.Linear(6, 4)
        child, shape = ChildLinear(parent, reduction=2, norm=norm), (3, 5, 4, 6)
    else:
        size = 3 if kind == "3x3" else 1
        parent = nn.Conv2d(6, 4, size, padding=size // 2)
        child = ChildConv2d(parent, padding=size // 2, reduction=2, norm=norm)
        shape = (3, 6, 5, 4)
    both = nn.ModuleDict({"child": child, "parent": parent})
    perturb(child)
    return both.to(device, dtype), torch.randn(shape).to(device, dtype)


def step(both: nn.ModuleDict, x: Tensor, mixed: torch.dtype | None = None) -> dict[str, Tensor]:
    """All that a step gives: the output, each gradient, each buffer after it."""
    both, x = copy.deepcopy(both), x.detach().clone().requires_grad_()
    with torch.autocast(x.device.type, mixed, enabled=mixed is not None):
        y = both["child"](x)
    weights = torch.linspace(-1, 2, y.numel(), device=x.device).reshape(y.shape)
    (y.float() if mixed else y).mul(weights.to(x.dtype)).sum().backward()
    found: dict[str, Any] = {"y": y.detach(), "x": x.grad, **dict(both.named_buffers())}
    found |= {name: p.grad for name, p in both.named_parameters()}
    return {name: t for name, t in found.items() if t is not None}


def in_both_forms(
    both: nn.ModuleDict, x: Tensor, mixed: torch.dtype | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a step gives by kernels, and by the plain form."""
    by_kernels = step(both, x, mixed)
    with plain_form():
        plain = step(both, x, mixed)
    assert by_kernels.keys() == plain.keys()
    return by_kernels, plain


def worst(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest difference of any entry, over the largest number in it."""
    errors = [
        float((a[name].double() - b[name].double()).abs().max() / b[name].abs().max().clamp_min(1))
        for name in b
    ]
    return max(errors)
