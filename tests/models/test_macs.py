"""Multiply-adds: by hand, and against the figures counted with fvcore on the official code."""

import pytest
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import kdna_zoo  # noqa: F401  registers the names
from kdna_zoo.models.macs import count_macs, macs_by_layer


def test_by_hand() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Conv2d(8, 8, 5, padding=2, groups=4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    expected = {"0.0": 3 * 9 * 8 * 16 * 16, "1": 2 * 25 * 8 * 16 * 16, "4": 80}
    assert macs_by_layer(network.eval(), (3, 32, 32)) == expected
    assert count_macs(network, (3, 32, 32)) == sum(expected.values())


def test_what_a_network_does_outside_of_its_modules_is_its_own() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 6, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.inner(x) @ self.inner.weight
            return y

    assert macs_by_layer(Product(), (5, 4)) == {"inner": 5 * 4 * 6, "": 5 * 6 * 4}


@pytest.mark.parametrize(
    ("name", "by_fvcore"),
    [
        ("kdna_resnet18", 2.283e9),
        ("kdna_resnet50", 4.331e9),
        ("kdna_mobilenetv2", 314.9e6),
        ("kdna_mobilenetv2_050", 104.8e6),
    ],
)
def test_with_two_for_each_normed_element_it_is_fvcores_figure(name: str, by_fvcore: float) -> None:
    with torch.device("meta"):
        model = timm.create_model(name).eval()
    normed = 0

    def add(module: nn.Module, args: object, output: torch.Tensor) -> None:
        nonlocal normed
        normed += output.numel()

    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_hook(add)
    macs = count_macs(model, (3, 224, 224))
    assert macs + 2 * normed == pytest.approx(by_fvcore, rel=0.005)
    if "resnet" in name:
        assert macs == pytest.approx(by_fvcore, rel=0.01)


def test_a_network_whose_parameters_go_through_modules_can_be_counted() -> None:
    with torch.device("meta"):
        model = timm.create_model("cait_xxs24_224").eval()
    assert count_macs(model, (3, 224, 224)) == pytest.approx(2.53e9, rel=0.01)  # timm: 2.53 GMACs
