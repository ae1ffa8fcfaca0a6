"""Stages as timm's feature_info has them, also of lists of layers and of what is flattened."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from kdna_zoo import auto_plan, share_kernels
from kdna_zoo.layers import Child
from kdna_zoo.sharing import stage_of


def on_meta(name: str, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = timm.create_model(name, **arguments)
    return model


@pytest.mark.parametrize(
    ("name", "path", "stage"),
    [
        ("resnet18", "layer3.1.conv2", "layer3"),
        ("resnet18", "conv1", "conv1"),
        ("mobilenetv2_050", "blocks.3.1.conv_pw", "blocks.3"),
        ("test_convnext", "stages.2.blocks.0.mlp.fc1", "stages.2"),
        ("vgg11_bn", "features.11", "features.13"),
        ("repvgg_a0", "stages.3.0.conv_kxk.conv", "stages.3"),
        ("densenet121", "features.denseblock4.denselayer1.conv1", "features.denseblock4"),
        ("xception41", "blocks.2.stack.conv2.conv_pw", "blocks.2.stack.act3"),
        ("xception41", "blocks.2.stack.conv3.conv_pw", "blocks.11.stack.act3"),
        ("xception41", "blocks.7.stack.conv1.conv_pw", "blocks.11.stack.act3"),
        ("xception41", "blocks.11.stack.conv3.conv_pw", "blocks.12"),
        ("legacy_xception", "block7.rep.1.pointwise", "block12.rep.0"),
        ("inception_v3", "Mixed_6c.branch1x1.conv", "Mixed_6e"),
        ("inception_v4", "features.12.branch0.conv", "features.17"),
        ("dpn68", "features.conv4_5.c1x1_a.conv", "features.conv4_12"),
        ("hrnet_w18_small", "stage3.0.branches.1.0.conv1", "stage3"),
    ],
)
def test_each_layer_is_in_the_stage_that_timm_ends_after_it(
    name: str, path: str, stage: str
) -> None:
    model = on_meta(name)
    assert isinstance(model.get_submodule(path), nn.Conv2d | nn.Linear), "there is such a layer"
    assert stage_of(model, path) == stage


def test_without_feature_info_a_stage_is_a_top_level_module() -> None:
    plain = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1)), nn.Conv2d(3, 3, 1))
    assert stage_of(plain, "0.0") == "0"
    assert stage_of(plain, "not.there") == "not"


@pytest.mark.parametrize("name", ["vgg16_bn", "xception41", "convnext_atto", "fasternet_t0"])
def test_features_only_has_the_same_plan(name: str) -> None:
    whole = [share.child for share in auto_plan(on_meta(name))]
    features = on_meta(name, features_only=True)
    plan = auto_plan(features)
    assert [share.child.replace("_", ".", 1) for share in plan] == whole
    share_kernels(features, plan)
    assert sum(isinstance(m, Child) for m in features.modules()) == len(whole)


def test_a_wrapped_network_has_stages_too() -> None:
    whole, features = on_meta("cspnext_s"), on_meta("cspnext_s", features_only=True)
    inside = [f"model.{share.child}" for share in auto_plan(whole)]
    assert [share.child for share in auto_plan(features)] == inside
    assert stage_of(features, inside[-1]) == "model.stages.2"


def test_the_kernels_of_one_shape_of_xception_share() -> None:
    """Its middle flow has eight equal blocks, whose ends no feature_info names."""
    plan = auto_plan(on_meta("xception41"), rule="last")
    assert [(s.child, s.parent) for s in plan] == [
        (f"blocks.{block}.stack.conv{conv}.conv_pw", "blocks.11.stack.conv1.conv_pw")
        for block in range(2, 11)
        for conv in (1, 2, 3)
        if (block, conv) > (2, 2)
    ]


def test_branches_of_inception_share_with_their_like() -> None:
    model = on_meta("inception_v3")
    plan = auto_plan(model, "Mixed_6e")
    pairs = [(share.child, share.parent) for share in plan]
    assert ("Mixed_6d.branch7x7_2.conv", "Mixed_6e.branch7x7_2.conv") not in pairs, "160 and 192"
    assert ("Mixed_6d.branch1x1.conv", "Mixed_6e.branch1x1.conv") in pairs
    for share in plan:
        first, second = share.child.partition(".")[2], share.parent.partition(".")[2]
        assert first == second, "one role"
