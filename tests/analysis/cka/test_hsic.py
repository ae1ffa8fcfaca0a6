"""HSIC_1 and CKA equal their plain definitions, and have the invariances of CKA."""

import pytest
import torch
from torch import Tensor

from kdna_zoo.analysis.cka import hsic
from kdna_zoo.analysis.cka.hsic import HsicSums, gram, u_centre
from tests.analysis.cka.plain_cka import (
    hsic_by_formula,
    hsic_of_quadruples,
    minibatch_cka,
    plain_cka,
)


def features(images: int = 12, *size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, *(size or (5,)), generator=generator, dtype=torch.float64)


def pair(images: int = 12) -> tuple[Tensor, Tensor]:
    """Two layers that have something in common."""
    x = features(images, 4, 3, 3) + 3
    return x, torch.relu(x.flatten(1)[:, :7]) + 0.5 * features(images, 7, seed=1)


def cka(*batches: tuple[Tensor, Tensor]) -> float:
    sums = HsicSums()
    for x, y in batches:
        sums.add(gram(x, len(x))[None], gram(y, len(y))[None])
    return float(sums.cka())


def test_hsic_is_the_mean_over_all_quadruples() -> None:
    x, y = pair(images=7)
    u, v = u_centre(gram(x, 7)), u_centre(gram(y, 7))
    ours = float((u * v).sum()) / (7 * 4)
    k, l = (z.flatten(1) @ z.flatten(1).T for z in (x, y))  # noqa: E741
    assert ours == pytest.approx(hsic_of_quadruples(k, l), rel=1e-10)
    assert ours == pytest.approx(hsic_by_formula(x, y), rel=1e-10)
    assert u.sum(dim=0).abs().max() < 1e-10
    assert u.diagonal().abs().max() == 0


def test_minibatch_cka_is_the_definition() -> None:
    batches = [pair(12), pair(9), pair(4)]
    assert cka(*batches) == pytest.approx(minibatch_cka(batches), abs=1e-6)
    assert cka(batches[0]) == pytest.approx(minibatch_cka(batches[:1]), abs=1e-6)
    assert abs(cka(*batches) - cka(batches[0])) > 1e-3, "the other batches count"


def test_mini_batches_come_to_the_value_of_all_images_at_once() -> None:
    x, y = pair(4000)
    batches = list(zip(torch.split(x, 20), torch.split(y, 20), strict=True))
    assert cka(*batches) == pytest.approx(plain_cka(x, y), abs=0.01)
    biased = sum(plain_cka(*batch) for batch in batches) / len(batches)
    assert biased > plain_cka(x, y) + 0.05, "what the unbiased estimate is for"


def test_all_pairs_at_once_are_the_pairs_one_by_one() -> None:
    layers = [features(12, d, seed=d) for d in (3, 5, 8)]
    grams = torch.stack([gram(x, 12) for x in layers])
    sums = HsicSums()
    sums.add(grams, grams[:2])
    matrix = sums.cka()
    assert matrix.shape == (3, 2)
    for i, x in enumerate(layers):
        for j, y in enumerate(layers[:2]):
            assert float(matrix[i, j]) == pytest.approx(cka((x, y)), abs=1e-12)


def test_invariances() -> None:
    x, y = pair(20)
    flat = x.flatten(1)
    turn = torch.linalg.qr(features(36, 36, seed=5)).Q
    assert cka((x, x)) == pytest.approx(1, abs=1e-12)
    assert cka((flat @ turn, y)) == pytest.approx(cka((x, y)), abs=1e-10), "orthogonal transform"
    assert cka((-40 * x, y)) == pytest.approx(cka((x, y)), abs=1e-10), "isotropic scale"
    assert cka((x + features(1, 4, 3, 3), y)) == pytest.approx(cka((x, y)), abs=1e-10), "shift"
    assert cka((y, x)) == pytest.approx(cka((x, y)), abs=1e-12), "symmetric"
    stretch = torch.linspace(0.1, 10, 36, dtype=torch.float64)
    assert abs(cka((flat * stretch, y)) - cka((x, y))) > 0.01, "no invariance to any linear map"


def test_unrelated_layers_are_at_zero_on_average() -> None:
    batches = [(features(8, 40, seed=2 * i), features(8, 40, seed=2 * i + 1)) for i in range(400)]
    assert abs(cka(*batches)) < 0.02
    assert plain_cka(*batches[0]) > 0.5, "the biased one is far off"


def test_gram_in_parts_and_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(6, 5, 7, 7)
    whole = gram(x, 6)
    monkeypatch.setattr(hsic, "CHUNK", 10)
    assert torch.allclose(gram(x, 6), whole, rtol=1e-12)
    centred = x.flatten(1) - x.flatten(1).mean(dim=0)
    assert torch.allclose(whole, centred @ centred.T, rtol=1e-12)
    half = x.to(torch.bfloat16)
    assert torch.equal(gram(half, 6), gram(half.double(), 6))
    windows = x.permute(0, 2, 3, 1).reshape(6 * 7, 7, 5)  # parts of an image side by side
    assert torch.allclose(gram(windows, 6), whole)


def test_what_is_the_same_for_all_images_has_no_cka() -> None:
    constant = (features(1, 30) * 1e3).float().expand(8, 30)
    noise = constant * (1 + 1e-7 * torch.randn(8, 30, generator=torch.Generator().manual_seed(0)))
    for dead in (constant, noise):
        assert torch.isnan(torch.tensor(cka((dead, features(8)))))
    assert cka((constant + 1e-2 * features(8, 30), features(8, 30))) > 0.999, "but a little is told"
