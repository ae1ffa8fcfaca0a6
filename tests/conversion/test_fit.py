"""Moments, factors and norms: the sums of a fit against plain loops."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.conversion import factors
from kdna_zoo.conversion.factors import Member, fit_together, loss
from kdna_zoo.conversion.matching import _larger
from kdna_zoo.conversion.moments import Moments
from kdna_zoo.conversion.norms import follow, norms_of, watching
from tests.conversion.plain_sums import output_error, patches_of
from tests.conversion.support import trained_like


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2),
        nn.Conv2d(4, 8, 3, padding=1, groups=2),
        nn.Conv2d(4, 4, 5, padding=2, groups=4),
        nn.Conv2d(4, 6, 1),
    ],
    ids=lambda conv: f"{conv.kernel_size[0]}-{conv.groups}-{conv.dilation[0]}",
)
def test_moments_are_those_of_all_patches(conv: nn.Conv2d) -> None:
    x = torch.randn(6, 4, 9, 9) + 0.5
    moments = Moments(conv, images=6)
    for part in (x[:4], x[4:]):
        moments.add(part)
    patches = patches_of(conv, x)
    assert moments.count == len(patches), "so few that each one is taken"
    torch.testing.assert_close(moments.mean(), patches.mean(0), rtol=1e-4, atol=1e-5)
    second = torch.einsum("pgd,pge->gde", patches, patches) / len(patches)
    found = moments.second(centred=False)
    off = ~torch.eye(moments.width, dtype=torch.bool)
    torch.testing.assert_close(found[:, off], 0.99 * second[:, off], rtol=1e-3, atol=1e-4)
    centred = moments.second(centred=True).diagonal(dim1=1, dim2=2)
    variance = patches.var(0, correction=0)
    expected = variance + 0.01 * variance.mean(1, keepdim=True)
    torch.testing.assert_close(centred, expected, rtol=1e-3, atol=1e-4)


def test_patches_are_drawn_so_that_cost_does_not_grow_with_the_images() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    moments = Moments(conv, images=100_000)
    moments.add(torch.randn(5, 2, 32, 32))
    assert moments.count == 5


def members(full: bool) -> tuple[list[Member], Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 60, 12, generator=generator)
    x = x * (0.2 + torch.rand(12, generator=generator))
    moments = torch.einsum("bpd,bpe->bde", x, x) / 60
    made = []
    for place, switch in enumerate((False, True, True)):
        kernel = torch.randn(1, 5, 12, generator=generator)
        one = moments[place % 2][None]
        seen = one if full else one.diagonal(dim1=1, dim2=2).contiguous()
        weight = 0.5 + torch.rand(1, 5, generator=generator)
        made.append(Member(kernel, seen, weight, 3, switch, switch, switch))
    return made, x


@pytest.mark.parametrize("full", [True, False])
def test_each_factor_is_the_best_one_given_the_others(full: bool) -> None:
    found, _ = members(full)
    parent = fit_together(found, rounds=4, tolerance=0)
    best = loss(found, parent)
    child = found[1]
    for name in ("f", "s"):
        kept = getattr(child, name)
        getattr(child, "fit")  # noqa: B009
        before = loss(found, parent)
        flags = child.filters, child.inputs, child.spatial
        child.filters, child.inputs, child.spatial = name == "f", False, name == "s"
        child.fit(parent)
        at_best = loss(found, parent)
        assert at_best <= before * (1 + 1e-5)
        for step in (0.98, 1.02):
            solved = getattr(child, name)
            setattr(child, name, solved * step)
            assert loss(found, parent) >= at_best * (1 - 1e-6)
            setattr(child, name, solved)
        setattr(child, name, kept)
        child.filters, child.inputs, child.spatial = flags
    for index in range(12):
        moved = parent.clone()
        moved[0, 0, index] += 0.01
        assert loss(found, moved) > best - 1e-3 * best


def test_the_error_is_that_of_the_outputs() -> None:
    found, x = members(full=True)
    child = found[1]
    parent = fit_together(found, rounds=3)
    expected = output_error(
        x[1][:, None], child.kernel[0].view(5, 4, 3), parent[0].view(5, 4, 3), child.f[0],
        child.g[0], child.s,
    )  # fmt: skip
    torch.testing.assert_close(child.error(parent)[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("full", [True, False])
def test_more_rounds_never_lose(full: bool) -> None:
    losses = []
    for rounds in (1, 2, 4, 8):
        found, _ = members(full)
        losses.append(loss(found, fit_together(found, rounds=rounds, tolerance=0)))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_gates_are_positive() -> None:
    found, _ = members(full=True)
    fit_together(found)
    for member in found[1:]:
        assert member.g.min() >= factors.SMALLEST_GATE * member.g.max() * 0.999
        assert member.g.min() > 0


def test_a_kernel_that_nobody_misses_becomes_the_childs() -> None:
    found, _ = members(full=True)
    free, child = found[:2]
    free.weight = torch.zeros_like(free.weight)
    parent = fit_together([free, child])
    assert loss([free, child], parent) < 1e-8


def test_the_gain_of_two_filters_is_the_larger_eigenvalue() -> None:
    u, v = torch.randn(2, 7)
    gram = torch.stack([torch.stack([u @ u, u @ v]), torch.stack([u @ v, v @ v])])
    largest = torch.linalg.eigvalsh(gram)[-1]
    torch.testing.assert_close(_larger(u @ u, v @ v, u @ v), largest)


def test_a_network_in_which_nothing_changed_keeps_its_statistics() -> None:
    model = trained_like("resnet18", layers=(1, 1, 1, 1), num_classes=3)
    images = [torch.randn(32, 3, 48, 48) for _ in range(4)]
    with torch.no_grad(), watching(norms_of(model)) as before:
        for batch in images:
            model(batch)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model(images[0])
    assert follow(model, copy.deepcopy(model), images, before) == len(norms_of(model))
    for key in ("bn1.running_mean", "bn1.running_var"):  # the others see noise of the batches
        torch.testing.assert_close(model.state_dict()[key], kept[key], rtol=1e-6, atol=1e-7)
    with torch.no_grad():
        assert (model(images[0]) - expected).square().mean() < 1e-2 * expected.var()


def test_statistics_follow_a_scaled_and_shifted_layer() -> None:
    source = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    norm = source[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean = torch.tensor([0.3, -0.2, 0.1, 0.5])
    norm.running_var = torch.tensor([1.0, 2.0, 0.5, 0.7])
    images = [torch.randn(8, 3, 6, 6) for _ in range(2)]
    with torch.no_grad(), watching(norms_of(source)) as before:
        expected = [source(batch) for batch in images]
    moved = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    moved.load_state_dict(source.state_dict())
    layer: Any = moved[0]
    layer.weight.data *= 3
    layer.bias.data += 2
    follow(moved, source, images, before)
    with torch.no_grad():
        for batch, wanted in zip(images, expected, strict=True):
            torch.testing.assert_close(moved(batch), wanted, rtol=1e-3, atol=1e-3)
