"""Sharing plans: what they refuse, and how they print, compare and travel."""

import json
import re

import pytest
import timm
import torch
from torch import nn

import kdna_zoo  # noqa: F401  registers the names
from kdna_zoo.layers import ChildConv2d
from kdna_zoo.sharing import (
    PlanError,
    Share,
    SharingPlan,
    alternate_blocks_plan,
    audit,
    basic_block_plan,
    last_block_plan,
    share_kernels,
    stage_of,
)


def plan(*pairs: tuple[str, str]) -> SharingPlan:
    return SharingPlan(tuple(Share(child, parent) for child, parent in pairs))


def resnet18() -> nn.Module:
    return timm.create_model("resnet18", num_classes=10)


def test_presets_are_the_published_plans() -> None:
    assert str(basic_block_plan({"layer3": 3, "layer4": 3})).splitlines() == [
        f"layer{s}.{child} <- layer{s}.{parent} (r=4)"
        for s in (3, 4)
        for child, parent in (
            ("0.conv2", "1.conv2"),
            ("1.conv1", "1.conv2"),
            ("2.conv1", "2.conv2"),
        )
    ]
    assert str(alternate_blocks_plan({"layer3": 7, "layer4": 3}, {"conv2": 4})).splitlines() == [
        "layer3.1.conv2 <- layer3.2.conv2 (r=4)",
        "layer3.3.conv2 <- layer3.4.conv2 (r=4)",
        "layer3.5.conv2 <- layer3.6.conv2 (r=4)",
        "layer4.1.conv2 <- layer4.2.conv2 (r=4)",
    ]
    depths = {f"blocks.{i}": n for i, n in enumerate((1, 2, 3, 4, 3, 3, 1))}
    blocks = [("2.1", "2.2"), ("3.1", "3.3"), ("3.2", "3.3"), ("4.1", "4.2"), ("5.1", "5.2")]
    assert str(last_block_plan(depths, {"conv_pw": 4, "conv_pwl": 24})).splitlines() == [
        f"blocks.{child}.{conv} <- blocks.{parent}.{conv} (r={r})"
        for child, parent in blocks
        for conv, r in (("conv_pw", 4), ("conv_pwl", 24))
    ]


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("kdna_resnet18", basic_block_plan({"layer3": 3, "layer4": 3})),
        ("kdna_resnet50", alternate_blocks_plan({"layer3": 7, "layer4": 3}, {"conv2": 4})),
        (
            "kdna_mobilenetv2",
            last_block_plan(
                {"blocks.2": 3, "blocks.3": 4, "blocks.4": 3, "blocks.5": 3},
                {"conv_pw": 4, "conv_pwl": 24},
            ),
        ),
    ],
)
def test_networks_have_the_published_plans(name: str, published: SharingPlan) -> None:
    assert timm.create_model(name).sharing_plan == published


def test_convnext_shares_alternate_blocks_with_a_layer_norm() -> None:
    plan = timm.create_model("kdna_convnext_t").sharing_plan
    assert plan.norm == "layer"
    blocks = [("2", 1), ("2", 3), ("2", 5), ("2", 7), ("3", 1)]
    assert str(plan).splitlines() == [
        f"stages.{s}.blocks.{i}.mlp.{fc} <- stages.{s}.blocks.{i + 1}.mlp.{fc} (r={r})"
        for s, i in blocks
        for fc, r in (("fc1", 4), ("fc2", 24))
    ]


def test_a_plan_is_a_value() -> None:
    first = basic_block_plan({"layer4": 2})
    again = SharingPlan.from_dict(json.loads(json.dumps(first.to_dict())))
    assert again == first
    assert hash(again) == hash(first)
    assert len(first) == 2
    assert set(first) - set(basic_block_plan({"layer4": 1})) == set(first)


def test_one_stage_of_one_block_shares_nothing() -> None:
    assert len(basic_block_plan({"layer4": 1})) == 0
    assert len(alternate_blocks_plan({"layer4": 2}, {"conv2": 4})) == 0
    assert len(last_block_plan({"blocks.1": 2}, {"conv_pw": 4})) == 0


def test_a_child_cannot_be_a_parent() -> None:
    with pytest.raises(PlanError, match="'b' is the parent of 'a' and itself a child"):
        plan(("a", "b"), ("b", "c"))
    with pytest.raises(PlanError, match="itself a child"):
        plan(("a", "a"))
    with pytest.raises(PlanError, match="'a' is a child more than once"):
        plan(("a", "b"), ("a", "c"))
    with pytest.raises(PlanError, match="unknown norm 'rms' in the plan; choose one of batch"):
        SharingPlan((), norm="rms")


@pytest.mark.parametrize(
    ("child", "parent", "message"),
    [
        (
            "layer4.1.conv3",
            "layer4.1.conv2",
            "no layer 'layer4.1.conv3' in this network; did you mean layer4.1.conv2",
        ),
        ("layer4.1.conv1", "xyz", "no layer 'xyz' in this network; and none with a name like it"),
        (
            "layer4.0.conv1",
            "layer4.1.conv2",
            r"child (512, 256, 3, 3), parent (512, 512, 3, 3)",
        ),
        (
            "layer4.1.bn1",
            "layer4.1.conv2",
            "'layer4.1.bn1' is a BatchNorm2d, and only a Conv2d or Linear can share its kernel",
        ),
        (
            "layer3.1.conv1",
            "layer4.1.conv2",
            "the child is in stage 'layer3', its parent in 'layer4'",
        ),
    ],
)
def test_a_plan_that_does_not_fit(child: str, parent: str, message: str) -> None:
    model = resnet18()
    before = [name for name, _ in model.named_modules()]
    fits = ("layer3.1.conv1", "layer3.1.conv2") if not child.startswith("layer3") else None
    pairs = [fits, (child, parent)] if fits else [(child, parent)]
    with pytest.raises(PlanError, match=re.escape(message)):
        share_kernels(model, plan(*pairs))
    assert [name for name, _ in model.named_modules()] == before, "the network was touched"


def test_sharing_twice_is_refused() -> None:
    pairs = plan(("layer4.1.conv1", "layer4.1.conv2"))
    with pytest.raises(PlanError, match="shares kernels already"):
        share_kernels(share_kernels(resnet18(), pairs), pairs)


def test_stages_are_timms() -> None:
    assert stage_of(resnet18(), "layer3.1.conv2") == "layer3"
    assert stage_of(timm.create_model("mobilenetv2_050"), "blocks.3.1.conv_pw") == "blocks.3"
    assert stage_of(timm.create_model("test_convnext"), "stages.2.blocks.0.mlp.fc1") == "stages.2"
    plain = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1)), nn.Conv2d(3, 3, 1))
    assert stage_of(plain, "0.0") == "0"


def test_any_network_can_share() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)))
    share_kernels(model, plan(("0.0", "0.2")))
    assert isinstance(model.get_submodule("0.0"), ChildConv2d)
    assert model(torch.randn(2, 3, 4, 4)).shape == (2, 3, 4, 4)


def test_the_audit_adds_up() -> None:
    model = share_kernels(resnet18(), plan(("layer4.1.conv1", "layer4.1.conv2")))
    rows = {row.path: row for row in audit(model)}
    total = sum(p.numel() for p in model.parameters())
    assert sum(row.own + row.adapter for row in rows.values()) == total
    child, parent = rows["layer4.1.conv1"], rows["layer4.1.conv2"]
    assert (child.own, child.shared) == (0, 512 * 512 * 9)
    # fc1, fc2 with bias, batch norm, filter and spatial attention
    assert child.adapter == 2 * 512 * 128 + 512 + 2 * 128 + 512 + 9
    assert (parent.own, parent.shared, parent.adapter) == (512 * 512 * 9, 0, 0)
    assert not any(".channel_attn" in path for path in rows)
