"""Plans by fitted error, under a budget."""

import torch
from torch import nn

from kdna_zoo import convert, suggest_plan
from tests.conversion.conftest import Batches
from tests.conversion.support import trained_like


def test_the_budget_is_met_and_no_child_could_be_spared(
    trained: nn.Module, images: Batches
) -> None:
    for given in (images, None):
        plan = suggest_plan(trained, given, 0.15, progress=False)
        before = sum(p.numel() for p in trained.parameters())
        saved = {
            layer.path: layer.saved
            for layer in convert(trained, plan, progress=False).conversion_report.layers
        }
        assert sum(saved.values()) >= 0.15 * before
        assert all(sum(saved.values()) - saved[s.child] < 0.15 * before for s in plan)


def test_layers_that_are_alike_but_for_the_order_of_channels_are_chosen() -> None:
    model = trained_like("resnet18", channels=(8, 8, 16, 24), layers=(1, 1, 1, 4), num_classes=5)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    child, parent = model.get_submodule("layer4.1"), model.get_submodule("layer4.3")
    child.conv1.weight.data = parent.conv1.weight.data[order] * 0.7
    child.conv2.weight.data = parent.conv2.weight.data[:, order] * 1.3
    for images in (None, [torch.randn(16, 3, 64, 64)]):
        plan = suggest_plan(model, images, 0.01, progress=False)
        assert {(s.child, s.parent) for s in plan} <= {
            ("layer4.1.conv1", "layer4.3.conv1"),
            ("layer4.1.conv2", "layer4.3.conv2"),
        }


def test_the_same_seed_gives_the_same_plan(trained: nn.Module, images: Batches) -> None:
    plans = [suggest_plan(trained, images[:4], 0.2, seed=3, progress=False) for _ in range(2)]
    assert plans[0] == plans[1]
