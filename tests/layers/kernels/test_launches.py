"""How many launches a child adds to those of an ordinary layer: the figures of docs/benchmarks.md."""

import copy

import pytest
import timm
import torch

import kdna_zoo
from kdna_zoo.analysis.bench.cases import build_network
from kdna_zoo.layers import Child
from tests.layers.kernels.counting import counting, training_step

TINY = ["test_kdna_resnet", "test_kdna_mobilenetv2", "test_kdna_convnext"]
NAMED = ["kdna_resnet18", "kdna_resnet50", "kdna_mobilenetv2", "kdna_convnext_t"]


def added_in_training(name: str, kernels: bool) -> float:
    """Launches of a training step beyond the control's, for each child."""
    images = torch.randn(4, 3, 64, 64)
    totals = []
    for network in (name, f"own:{name}"):
        model = build_network(network)
        step = training_step(model, images)
        with counting(kernels) as counts:
            step()
        totals.append(sum(counts.values()))
    children = sum(isinstance(m, Child) for m in build_network(name).modules())
    return (totals[0] - totals[1]) / children


def added_in_inference(name: str, kernels: bool) -> float:
    """Launches of a fused network for one image beyond the fused control's, for each child."""
    images = torch.randn(1, 3, 64, 64).to(memory_format=torch.channels_last)
    totals = []
    for network in (name, f"own:{name}"):
        fused = kdna_zoo.fuse(build_network(network)).to(memory_format=torch.channels_last)
        with torch.inference_mode(), counting(kernels) as counts:
            fused(images)
        totals.append(sum(counts.values()))
    children = sum(isinstance(m, Child) for m in build_network(name).modules())
    return (totals[0] - totals[1]) / children


@pytest.mark.parametrize("name", TINY)
def test_a_child_adds_few_launches(name: str) -> None:
    assert added_in_training(name, kernels=True) <= 14
    assert added_in_training(name, kernels=False) >= 30
    assert added_in_inference(name, kernels=True) <= 4


@pytest.mark.integration
@pytest.mark.parametrize(("name", "kernels", "plain"), [
    ("kdna_resnet18", 13, 40), ("kdna_resnet50", 13, 40),
    ("kdna_mobilenetv2", 12, 34.3), ("kdna_convnext_t", 11, 32),
])  # fmt: skip
def test_the_named_networks(name: str, kernels: float, plain: float) -> None:
    assert added_in_training(name, kernels=True) == pytest.approx(kernels, abs=0.5)
    assert added_in_training(name, kernels=False) == pytest.approx(plain, abs=0.5)
    assert added_in_inference(name, kernels=True) == 3


def test_the_count_is_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting changes no gradient but those that kernels would have written."""
    model = timm.create_model("test_kdna_resnet")
    expected = copy.deepcopy(model)
    images = torch.randn(4, 3, 64, 64)
    with counting(kernels=False) as counts:
        training_step(model, images)()
    training_step(expected, images)()
    assert counts["native_batch_norm"] == counts["native_batch_norm_backward"]
    for a, b in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
