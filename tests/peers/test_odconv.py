"""ODConv against plain loops, whichever way it takes."""

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.peers import ODConv2d, per_sample
from tests.peers import reference as ref
from tests.peers.support import assert_same, conv, each_geometry, images, moved

each_number = pytest.mark.parametrize("kernels", [1, 3])


def expected(layer: ODConv2d, x: Tensor, temperature: float) -> Tensor:
    """f * conv(c * x, s * sum a_k W_k), attention by attention."""
    C, F, S, K = layer.sizes
    outputs = []
    for sample in x:
        h = ref.batch_norm(layer.squeeze.norm, ref.linear(layer.squeeze.fc, ref.pooled(sample)))
        logits = ref.linear(layer.heads, [max(v, 0.0) for v in h])
        logits = [v / temperature for v in logits]
        c = [ref.sigmoid(v) for v in logits[:C]]
        f = [ref.sigmoid(v) for v in logits[C : C + F]] or [1.0] * layer.out_channels
        s = [ref.sigmoid(v) for v in logits[C + F : C + F + S]] or [1.0]
        a = ref.softmax(logits[C + F + S :]) if K else [1.0]
        kernel = ref.mixture(a, layer.weight.detach().view(-1, *layer.geometry.shape))
        for position, value in enumerate(s):
            kernel.flatten(2)[:, :, position] *= value
        scaled = torch.stack([channel * value for channel, value in zip(sample, c, strict=True)])
        y = ref.convolve(layer, scaled, kernel)
        y = torch.stack([channel * value for channel, value in zip(y, f, strict=True)])
        outputs.append(y if layer.bias is None else y + layer.bias.detach()[:, None, None])
    return torch.stack(outputs)


@each_number
@each_geometry
@pytest.mark.parametrize("few", [0.01, 100], ids=["few pixels", "many pixels"])
def test_is_its_plain_loops(
    geometry: dict[str, int], kernels: int, few: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_sample, "FEW", few)
    monkeypatch.setattr(per_sample, "MIXED", 0 if few > 1 else 1000)
    layer = ODConv2d(conv(geometry), kernels)
    moved(layer).anneal(0.9)
    assert_same(layer(images()), expected(layer, images(), 30 - 0.9 * 29))


@each_number
@pytest.mark.parametrize("size", [1, 2, 6])
def test_few_and_many_pixels(kernels: int, size: int) -> None:
    """Fewer pixels than output channels: the attentions scale the map, else the kernel."""
    layer = ODConv2d(conv(dict(kernel_size=3, padding=1)), kernels)
    moved(layer)
    x = images(size=size)
    assert_same(layer(x), expected(layer, x, 1.0))


def test_attentions_that_are_left_out() -> None:
    assert ODConv2d(nn.Conv2d(8, 6, 3), 4).sizes == (8, 6, 9, 4)
    assert ODConv2d(nn.Conv2d(8, 8, 3, groups=8), 4).sizes == (8, 0, 9, 4)
    assert ODConv2d(nn.Conv2d(8, 6, 1)).sizes == (8, 6, 0, 0)


@pytest.mark.parametrize("kernels", [1, 2])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("size", "pixels"), [(1, 1), (1, 5), (3, 2), (3, 8)])
def test_keeps_the_memory_format(
    memory_format: torch.memory_format, size: int, pixels: int, kernels: int
) -> None:
    layer = ODConv2d(nn.Conv2d(4, 16, size, padding=size // 2), kernels)
    x = torch.randn(2, 4, pixels, pixels).to(memory_format=memory_format)
    assert layer(x).is_contiguous(memory_format=memory_format)


def test_one_image_cannot_train() -> None:
    layer, x = ODConv2d(nn.Conv2d(4, 4, 3)), torch.randn(1, 4, 5, 5)
    with pytest.raises(ValueError, match="cannot train on a batch of one image: use at least two"):
        layer(x)
    assert layer.eval()(x).shape == (1, 4, 3, 3)
