"""Whichever way a per-sample convolution takes, the result is the same."""

import pytest
import torch

from kdna_zoo.peers import per_sample
from kdna_zoo.peers.per_sample import Geometry, conv2d_per_sample
from tests.peers.support import GEOMETRIES, conv


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=list(GEOMETRIES))
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_one_by_one_equals_groups(
    geometry: dict[str, int], memory_format: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = conv(geometry)
    shape = tuple(layer.weight.shape)
    given = Geometry(shape, layer.stride, layer.padding, layer.dilation, layer.groups)
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64).to(memory_format=memory_format)
    kernels = torch.randn(3, *shape, dtype=torch.float64)
    one_by_one = conv2d_per_sample(x, kernels, given)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    groups = conv2d_per_sample(x, kernels, given)
    torch.testing.assert_close(one_by_one, groups)
    assert groups.is_contiguous(memory_format=memory_format)
    for n in range(3):
        layer.weight.data.copy_(kernels[n])
        expected = torch.nn.functional.conv2d(x[n : n + 1], layer.weight, None, *given[1:])
        torch.testing.assert_close(groups[n : n + 1], expected)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=list(GEOMETRIES))
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("grad", [True, False])
def test_the_product_of_a_gpu_equals_one_by_one(
    geometry: dict[str, int],
    memory_format: torch.memory_format,
    grad: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = conv({**geometry, "groups": 1})
    shape = tuple(layer.weight.shape)
    given = Geometry(shape, layer.stride, layer.padding, layer.dilation, layer.groups)
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64).to(memory_format=memory_format)
    kernels = torch.randn(3, *shape, dtype=torch.float64)
    expected = conv2d_per_sample(x, kernels, given)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # not one by one
    monkeypatch.setattr(per_sample, "_suits_product", lambda *_: True)
    with torch.set_grad_enabled(grad):
        product = conv2d_per_sample(x, kernels, given)
    torch.testing.assert_close(product, expected)
    assert product.is_contiguous(memory_format=memory_format)
