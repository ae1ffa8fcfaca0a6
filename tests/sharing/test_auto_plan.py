"""Plans for networks that nobody here named: families of timm that this package has no model of."""

import pytest
import timm
import torch
from torch import nn

from kdna_zoo import PlanError, audit, auto_plan, share_kernels
from kdna_zoo.layers import Child
from kdna_zoo.sharing import stage_of

FAMILIES = [
    "seresnet18",
    "seresnext26d_32x4d",
    "resnetv2_50",
    "regnetx_002",
    "efficientnet_b0",
    "mobilenetv3_small_050",
    "vgg11_bn",
    "darknet53",
    "repvgg_a0",
    "convnextv2_atto",
    "starnet_s1",
    "dla34",
]


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.integration
@pytest.mark.parametrize("name", FAMILIES)
def test_forward_backward_export_and_saving(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3)
    before = count(model)
    plan = auto_plan(model)
    share_kernels(model, plan)
    assert count(model) < before, "sharing saves parameters"
    assert sum(isinstance(m, Child) for m in model.modules()) == len(plan)
    for share in plan:
        assert stage_of(model, share.child) == stage_of(model, share.parent)

    x = torch.randn(2, 3, 64, 64)
    model(x).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []

    model.eval()
    batch = torch.export.Dim("batch", min=1, max=16)
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: batch},)).module()
    three = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = model(three)
        assert torch.allclose(exported(three), expected, rtol=1e-4, atol=1e-4)


def test_alternate_pairs_from_the_end_within_one_role() -> None:
    model = timm.create_model("resnet50")
    conv2 = [str(s) for s in auto_plan(model, stages=["layer3"]) if "conv2" in s.child]
    assert conv2 == [f"layer3.{i}.conv2 <- layer3.{i + 1}.conv2 (r=4)" for i in (0, 2, 4)]
    seven = timm.create_model("resnet50", layers=(3, 4, 7, 3))
    conv2 = [str(s) for s in auto_plan(seven, stages=["layer3"]) if "conv2" in s.child]
    published = [s for s in timm.create_model("kdna_resnet50").sharing_plan if "layer3" in s.child]
    assert conv2 == list(map(str, published)), "the published rule, found by shape"


def test_finds_the_convnext_preset() -> None:
    preset = timm.create_model("kdna_convnext_t").sharing_plan
    assert auto_plan(timm.create_model("convnext_tiny"), norm="layer") == preset


def test_rule_last_is_mobilenetv2s() -> None:
    preset = timm.create_model("kdna_mobilenetv2").sharing_plan
    stages = ["blocks.2", "blocks.3", "blocks.4", "blocks.5"]
    assert auto_plan(timm.create_model("mobilenetv2_100"), stages, rule="last") == preset


def test_no_pair_costs_more_than_it_saves() -> None:
    model = timm.create_model("seresnet50")
    plan = auto_plan(model)
    assert not any(".se.fc1" in share.child for share in plan), "1024 -> 64, attention 1024 -> 42"
    share_kernels(model, plan)
    for row in audit(model):
        assert row.adapter < row.shared or not row.shared, row


def test_a_plan_with_layer_norms_leaves_out_what_is_too_narrow_for_one() -> None:
    def network() -> nn.Module:
        convs = [nn.Conv2d(*channels, 3) for channels in ((40, 4), (40, 4), (40, 64), (40, 64))]
        return nn.Sequential(nn.ModuleList(nn.ModuleDict({"conv": conv}) for conv in convs))

    assert [share.child for share in auto_plan(network())] == ["0.0.conv", "0.2.conv"]
    plan = auto_plan(network(), norm="layer")
    assert [share.child for share in plan] == ["0.2.conv"]
    share_kernels(network(), plan)


def test_chosen_stages_only() -> None:
    model = timm.create_model("seresnet18")
    plan = auto_plan(model, stages=["layer2"])
    assert {share.child.split(".")[0] for share in plan} == {"layer2"}
    assert auto_plan(model, stages="layer2") == plan


def test_what_cannot_be_shared_is_said() -> None:
    with pytest.raises(PlanError, match=r"nothing can be shared: no two .* looked at blocks\.0"):
        auto_plan(timm.create_model("test_vit"), stages=["blocks.0"])
    with pytest.raises(PlanError, match="the network has no plain Conv2d or Linear"):
        auto_plan(nn.Sequential(nn.ReLU()))
    with pytest.raises(PlanError, match="no stage 'layer5' in this network; it has conv1, layer1"):
        auto_plan(timm.create_model("resnet18"), stages=["layer5"])
    with pytest.raises(PlanError, match="unknown rule 'first'; choose one of alternate, last"):
        auto_plan(timm.create_model("resnet18"), rule="first")
    with pytest.raises(PlanError, match="a reduction must be at least 1, got 0"):
        auto_plan(timm.create_model("resnet18"), reduction=0)
