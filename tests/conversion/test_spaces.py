"""Spaces of channels: what may be permuted, found by tracing, and that nothing changes by it."""

import copy

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.conversion.spaces import permute
from kdna_zoo.conversion.tracing import find_structure
from tests.conversion.support import random_orders, trained_like

FAMILIES = {  # timm's network -> the hidden spaces of one of its blocks, by (tensor, dimension)
    "resnet18": [("layer2.1.conv1.weight", 0)],
    "resnet50": [("layer3.1.conv1.weight", 0), ("layer3.1.conv2.weight", 0)],
    "mobilenetv2_050": [("blocks.2.1.conv_pw.weight", 0)],
    "convnext_atto": [("stages.2.blocks.1.mlp.fc1.weight", 0)],
    "convnextv2_atto": [("stages.2.blocks.1.mlp.fc1.weight", 0)],
    "regnetx_002": [("s4.b2.conv1.conv.weight", 0), ("s4.b2.conv2.conv.weight", 0)],
    "regnety_002": [("s4.b2.conv1.conv.weight", 0), ("s4.b2.se.fc1.weight", 0)],
    "resnext50_32x4d": [("layer3.1.conv1.weight", 0), ("layer3.1.conv2.weight", 0)],
    "efficientnet_b0": [("blocks.2.1.conv_pw.weight", 0), ("blocks.2.1.se.conv_reduce.weight", 0)],
    "densenet121": [("features.denseblock1.denselayer1.conv1.weight", 0)],
}


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_permuting_all_spaces_changes_no_output(name: str) -> None:
    model = trained_like(name, num_classes=10)
    structure = find_structure(model, torch.randn(1, 3, 64, 64))
    assert not structure.problem
    for key, dim in FAMILIES[name]:
        assert structure.space_of(key, dim) is not None, f"{key} is in no space"
    images = torch.randn(2, 3, 64, 64)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        plain = model.to(dtype)
        moved = copy.deepcopy(plain)
        permute(moved, structure.spaces, random_orders(structure.spaces))
        before, after = plain(images.to(dtype)), moved(images.to(dtype))
        assert (before - after).abs().max() <= tolerance * before.abs().max()
        changed = [k for k, p in moved.state_dict().items() if not p.equal(plain.state_dict()[k])]
        assert changed


def test_a_hidden_space_has_all_that_goes_along() -> None:
    structure = find_structure(trained_like("mobilenetv2_050"), torch.randn(1, 3, 64, 64))
    space = structure.spaces[structure.space_of("blocks.2.1.conv_pw.weight", 0) or 0]
    touched = {(touch.key.removeprefix("blocks.2.1."), touch.dim) for touch in space.touches}
    vectors = {
        (f"bn{n}.{key}", 0)
        for n in (1, 2)
        for key in ("weight", "bias", "running_mean", "running_var")
    }
    kernels = {("conv_pw.weight", 0), ("conv_dw.weight", 0), ("conv_pwl.weight", 1)}
    assert touched == vectors | kernels


def test_the_stream_is_one_space_and_the_ends_are_none() -> None:
    structure = find_structure(trained_like("resnet18"), torch.randn(1, 3, 64, 64))
    stream = structure.space_of("layer2.0.conv2.weight", 0)
    assert stream == structure.space_of("layer2.1.conv1.weight", 1) is not None
    assert structure.space_of("conv1.weight", 1) is None
    assert structure.space_of("fc.weight", 0) is None


def test_grouped_convolutions_tie_the_order_of_their_groups() -> None:
    structure = find_structure(trained_like("resnext50_32x4d"), torch.randn(1, 3, 64, 64))
    found = [structure.space_of("layer3.1.conv2.weight", dim) for dim in (0, 1)]
    before, after = (structure.spaces[index or 0] for index in found)
    assert before.blocks == after.blocks == 32
    assert before.bundle == after.bundle
    assert found[0] != found[1]


class Mixing(nn.Module):
    """Two convolutions with something between them."""

    def __init__(self, between: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.first, self.between = nn.Conv2d(3, width, 3), between
        self.second = nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.between(self.first(x)))
        return y


class Reshaped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), 4, 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


class Conditional(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("between", "free"),
    [
        (nn.ReLU(), True),
        (nn.BatchNorm2d(8), True),
        (nn.GroupNorm(1, 8), True),
        (nn.PReLU(8), True),
        (nn.GroupNorm(4, 8), False),
        (nn.PixelShuffle(1), True),
        (nn.ChannelShuffle(2), False),
        (nn.Softmax(1), True),
        (Reshaped(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_mixes_channels_ends_the_freedom(between: nn.Module, free: bool) -> None:
    model = Mixing(between).eval()
    structure = find_structure(model, torch.randn(1, 3, 8, 8))
    assert (structure.space_of("first.weight", 0) is not None) == free


def test_a_network_that_cannot_be_traced_has_none_and_says_why() -> None:
    structure = find_structure(Mixing(Conditional()).eval(), torch.randn(1, 3, 8, 8))
    assert structure.spaces == []
    assert "control flow" in structure.problem


def test_norms_are_those_that_alone_read_a_layer() -> None:
    structure = find_structure(trained_like("resnet18"), torch.randn(1, 3, 64, 64))
    assert structure.norms["layer1.0.conv1"] == "layer1.0.bn1"
    assert len(structure.norms) == 20
