"""The stages of a network add up to the network."""

import pytest
import timm
import torch

import kdna_zoo  # noqa: F401  registers the names
from kdna_zoo.analysis.stages import summarize, total
from kdna_zoo.models.macs import count_macs
from kdna_zoo.sharing import audit


@pytest.mark.parametrize("name", [*timm.list_models("test_kdna_*"), "test_vit"])
def test_stages_add_up(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name).eval()
    size = model.pretrained_cfg["input_size"]
    stages = summarize(model, size)
    whole = total(stages)
    assert whole.parameters == sum(p.numel() for p in model.parameters())
    assert whole.shared == sum(row.shared for row in audit(model))
    assert whole.macs == count_macs(model, size)
    assert all(stage.macs >= 0 for stage in stages)


def test_adapters_and_borrowed_kernels_are_where_the_children_are() -> None:
    model = timm.create_model("test_kdna_resnet").eval()
    stages = {stage.stage: stage for stage in summarize(model, (3, 64, 64))}
    assert [s for s, row in stages.items() if row.adapter] == ["layer3", "layer4"]
    assert stages["layer3"].shared == 2 * model.layer3[1].conv2.weight.numel()
    children = [model.layer3[0].conv2, model.layer3[1].conv1]
    assert stages["layer3"].adapter == sum(p.numel() for c in children for p in c.parameters())
