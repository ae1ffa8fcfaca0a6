"""Sharing plans: what they refuse, and how they print, compare and travel."""

import copy
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
    auto_plan,
    basic_block_plan,
    fuse,
    last_block_plan,
    plan_of,
    share_kernels,
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
    features = timm.create_model("test_kdna_resnet", features_only=True)
    with pytest.raises(PlanError, match="shares kernels already"):
        share_kernels(features, plan(("layer1.0.conv1", "layer1.0.conv2")))


@pytest.mark.parametrize(
    ("child", "parent", "message"),
    [
        (
            nn.Conv2d(64, 64, 3, groups=64),
            nn.Conv2d(1, 64, 3),
            "differ in groups, child 64, parent 1",
        ),
        (
            nn.Conv2d(1, 64, 3),
            nn.Conv2d(64, 64, 3, groups=64),
            "differ in groups, child 1, parent 64",
        ),
        (nn.Conv2d(8, 8, 1), nn.Linear(8, 8), "differ in shape, child (8, 8, 1, 1), parent (8, 8)"),
        (nn.Conv2d(8, 8, 1).half(), nn.Conv2d(8, 8, 1), "differ in type, child torch.float16"),
        (nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1, device="meta"), "differ in device, child cpu"),
        (nn.ConvTranspose2d(8, 8, 1), nn.Conv2d(8, 8, 1), "'b.child' is a ConvTranspose2d, and"),
        (nn.Conv1d(8, 8, 1), nn.Conv1d(8, 8, 1), "'b.child' is a Conv1d, and only a Conv2d or"),
        (nn.Conv3d(8, 8, 1), nn.Conv3d(8, 8, 1), "'b.child' is a Conv3d, and only a Conv2d or"),
        (
            nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1)),
            nn.Conv2d(8, 8, 1),
            "'b.child' is a ParametrizedConv2d, and only a Conv2d or Linear",
        ),
        (
            nn.Conv2d(8, 8, 1),
            nn.utils.spectral_norm(nn.Conv2d(8, 8, 1)),
            "the kernel of 'b.parent' is no parameter of its own but made of others",
        ),
    ],
    ids=str,
)
def test_layers_that_have_no_kernel_in_common(
    child: nn.Module, parent: nn.Module, message: str
) -> None:
    model = nn.ModuleDict({"b": nn.ModuleDict({"child": child, "parent": parent})})
    with pytest.raises(PlanError, match=re.escape(message)):
        share_kernels(model, plan(("b.child", "b.parent")))
    assert model.get_submodule("b.child") is child, "the network was touched"
    assert "b.child" not in [s.child for s in _auto(model)], "nor does auto_plan propose it"


def _auto(model: nn.Module) -> SharingPlan:
    try:
        return auto_plan(model, rule="last")
    except PlanError:
        return SharingPlan(())


def test_layers_that_share_already() -> None:
    conv, other = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
    twice = nn.ModuleDict({"b": nn.ModuleDict({"first": conv, "again": conv, "other": other})})
    with pytest.raises(PlanError, match=r"'b\.first' and 'b\.again' have one kernel already"):
        share_kernels(twice, plan(("b.first", "b.other")))
    tied = nn.ModuleDict({"b": nn.ModuleDict({"first": nn.Conv2d(8, 8, 3), "other": other})})
    tied.get_submodule("b.first").weight = other.weight
    with pytest.raises(PlanError, match=r"'b\.first' and 'b\.other' have one kernel already"):
        share_kernels(tied, plan(("b.first", "b.other")))


def test_hooks_would_be_lost_with_the_layer() -> None:
    model = nn.ModuleDict({"b": nn.ModuleList(nn.Conv2d(8, 8, 3) for _ in range(2))})
    model.get_submodule("b.0").register_forward_hook(lambda module, x, y: None)
    with pytest.raises(PlanError, match="hooks are registered on the child, which would be lost"):
        share_kernels(model, plan(("b.0", "b.1")))


def test_a_childs_geometry_is_its_own() -> None:
    """Stride, padding and dilation say where a kernel is applied, not what is in it."""
    child = nn.Conv2d(8, 8, 3, stride=2, padding=2, dilation=2, padding_mode="circular")
    model = nn.ModuleDict({"b": nn.ModuleDict({"child": child, "parent": nn.Conv2d(8, 8, 3)})})
    share_kernels(model, plan(("b.child", "b.parent")))
    made = model.get_submodule("b.child")
    assert isinstance(made, ChildConv2d)
    assert (made.stride, made.dilation, made.padding_mode) == ((2, 2), (2, 2), "circular")


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "densenet121"])
def test_a_plan_is_data_that_a_network_carries(name: str) -> None:
    with torch.device("meta"):
        base, again = timm.create_model(name), timm.create_model(name)
    chosen = auto_plan(base, rule="last")
    assert plan_of(base) is None
    model = share_kernels(base, chosen)
    assert plan_of(model) == chosen
    assert plan_of(copy.deepcopy(model)) == chosen
    written = json.loads(json.dumps(plan_of(model).to_dict()))
    again = share_kernels(again, SharingPlan.from_dict(written))
    assert list(again.state_dict()) == list(model.state_dict())
    del model.sharing_plan
    assert plan_of(model) == chosen, "read off the layers"


def test_a_plan_is_read_off_a_network_that_was_taken_apart() -> None:
    whole = timm.create_model("test_kdna_convnext")
    features = timm.create_model("test_kdna_convnext", features_only=True)
    found = plan_of(features)
    assert [(s.child.replace("_", ".", 1), s.reduction) for s in found] == [
        (s.child, s.reduction) for s in whole.sharing_plan
    ]
    assert (found.norm, found.adapter) == ("layer", "full")
    assert plan_of(fuse(whole)) is None, "baked kernels are nobody's"


def test_a_parent_that_was_cut_off_is_told() -> None:
    model = nn.ModuleDict({"b": nn.ModuleList(nn.Conv2d(8, 8, 3) for _ in range(2))})
    share_kernels(model, plan(("b.0", "b.1")))
    del model["b"][1]
    with pytest.raises(PlanError, match=r"parent of 'b\.0' is no part of this network, so"):
        plan_of(model)


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
