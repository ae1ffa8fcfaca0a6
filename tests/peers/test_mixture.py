"""CondConv and DY-Conv against plain loops."""

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.peers import CondConv2d, CondLinear, DYConv2d, per_sample
from tests.peers import reference as ref
from tests.peers.support import assert_same, conv, each_geometry, images, moved

each_way = pytest.mark.parametrize("most", [0, 1000], ids=["kernels mixed", "outputs mixed"])


def kernels(layer: CondConv2d | DYConv2d) -> Tensor:
    return layer.weight.detach().view(-1, *layer.geometry.shape)


@each_way
@each_geometry
def test_condconv_is_its_plain_loops(
    geometry: dict[str, int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_sample, "MIXED", most)
    layer = moved(CondConv2d(conv(geometry), kernels=3))

    def kernel_of(x: Tensor) -> Tensor:
        shares = [ref.sigmoid(v) for v in ref.linear(layer.routing, ref.pooled(x))]
        return ref.mixture(shares, kernels(layer))

    assert_same(layer(images()), ref.each_sample(layer, images(), kernel_of))


@each_way
@each_geometry
def test_dyconv_is_its_plain_loops(
    geometry: dict[str, int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_sample, "MIXED", most)
    layer = moved(DYConv2d(conv(geometry), kernels=3))
    layer.anneal(0.9)  # T = 34 - 0.9 * 33

    def kernel_of(x: Tensor) -> Tensor:
        hidden = [max(v, 0.0) for v in ref.linear(layer.squeeze.fc, ref.pooled(x))]
        logits = [v / 4.3 for v in ref.linear(layer.attention, hidden)]
        return ref.mixture(ref.softmax(logits), kernels(layer))

    assert_same(layer(images()), ref.each_sample(layer, images(), kernel_of))


def test_condlinear_is_its_plain_loops() -> None:
    layer = CondLinear(nn.Linear(4, 3), kernels=2)
    moved(layer)
    x = torch.randn(5, 4, dtype=torch.float64)
    weights = layer.weight.detach().view(2, 3, 4)
    for found, row in zip(layer(x), x.tolist(), strict=True):
        shares = [ref.sigmoid(v) for v in ref.linear(layer.routing, row)]
        mixed = nn.Linear(4, 3, dtype=torch.float64)
        mixed.weight = nn.Parameter(ref.mixture(shares, weights))
        mixed.bias = layer.bias
        assert found.tolist() == pytest.approx(ref.linear(mixed, row))


@pytest.mark.parametrize("operator", [CondConv2d, DYConv2d])
def test_experts_start_one_by_one(operator: type[CondConv2d | DYConv2d]) -> None:
    """Uniform within sqrt(6 / fan-in), so that the variance is 2 / fan-in."""
    layer = operator(nn.Conv2d(16, 32, 3))
    bound = (6 / (16 * 9)) ** 0.5
    for kernel in layer.weight:
        assert bound * 0.98 < kernel.abs().max() <= bound
    assert layer.weight.std(dim=0).min() > 0


@each_way
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [1, 3])
def test_keeps_the_memory_format(
    memory_format: torch.memory_format, size: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_sample, "MIXED", most)
    layer = CondConv2d(nn.Conv2d(4, 6, size, padding=size // 2))
    x = torch.randn(2, 4, 5, 5).to(memory_format=memory_format)
    assert layer(x).is_contiguous(memory_format=memory_format)
