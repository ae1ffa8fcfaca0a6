"""What the registered names promise: counts, plans, owners."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.utils.model import reparameterize_model
from torch import nn

from kdna_zoo.errors import UserError, WeightsError
from kdna_zoo.layers import Child
from kdna_zoo.models.weights import known_weights, weights_of
from kdna_zoo.sharing import PlanError, Share, SharingPlan, audit
from tests.models.support import assert_close, children, images


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("kdna_resnet18", 9_240_798),
        ("kdna_resnet50", 22_778_060),
        ("kdna_mobilenetv2", 3_136_840),
        ("kdna_mobilenetv2_050", 1_878_232),
    ],
)
def test_parameter_count_is_the_published_one(name: str, published: int) -> None:
    assert parameters(timm.create_model(name)) == published


def test_docstring_states_the_count(model: nn.Module) -> None:
    name = model.pretrained_cfg["architecture"]
    stated = re.search(r"([\d,]+) parameters", timm.model_entrypoint(name).__doc__ or "")
    if not name.startswith("test_"):
        assert stated, "say the parameter count in the entry point's docstring"
        assert int(stated[1].replace(",", "")) == parameters(model)


def test_only_the_kernels_of_children_are_saved(model: nn.Module, base: nn.Module) -> None:
    assert sum(row.own + row.shared for row in audit(model)) == parameters(base)


def test_state_dict_has_no_aliased_tensor(model: nn.Module) -> None:
    pointers = [t.data_ptr() for t in model.state_dict().values() if t.numel()]
    assert len(pointers) == len(set(pointers))


def test_each_parent_has_one_owner(model: nn.Module) -> None:
    modules = dict(model.named_modules(remove_duplicate=False))
    found = children(model)
    assert sorted(found) == sorted(share.child for share in model.sharing_plan)
    for share in model.sharing_plan:
        assert found[share.child].parent is modules[share.parent]
        owners = [path for path, m in modules.items() if m is modules[share.parent]]
        assert owners == [share.parent]


def test_fused_by_timm_equals_unfused(model: nn.Module) -> None:
    fused = reparameterize_model(model)
    assert not any(isinstance(m, Child) for m in fused.modules())
    with torch.no_grad():
        assert_close(fused(images(2)), model(images(2)), tolerance=1e-5)


def test_depths_of_the_users_choice_follow_the_rule() -> None:
    model = timm.create_model("kdna_resnet18", layers=(2, 2, 2, 2))
    assert [share.child for share in model.sharing_plan] == [
        "layer3.0.conv2",
        "layer3.1.conv1",
        "layer4.0.conv2",
        "layer4.1.conv1",
    ]


def test_norm_of_the_users_choice() -> None:
    model = timm.create_model("test_kdna_resnet", attn_norm="layer")
    assert model.sharing_plan.norm == "layer"
    assert all(isinstance(c.channel_attn.norm, nn.GroupNorm) for c in children(model).values())
    with pytest.raises(PlanError, match="unknown norm 'group' in the plan; choose one of batch,"):
        timm.create_model("test_kdna_resnet", attn_norm="group")


def test_control_of_the_users_choice_travels_with_the_weights(tmp_path: Path) -> None:
    args = dict(ablation="own_channel", attn_norm="layer", num_classes=7)
    model = timm.create_model("test_kdna_resnet", **args).eval()
    assert model.sharing_plan.own_kernels
    assert model.sharing_plan.departure == "own kernels, channel attention only"
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    assert json.loads((tmp_path / "config.json").read_text())["model_args"].items() >= args.items()
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert again.sharing_plan == model.sharing_plan
    with torch.no_grad():
        assert torch.equal(again(images(2)), model(images(2)))
    with pytest.raises(
        WeightsError, match="the weights do not fit test_kdna_resnet with these arg"
    ):
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True, ablation="full")


def test_plan_of_the_users_choice_travels_with_the_weights(tmp_path: Path) -> None:
    plan = SharingPlan((Share("layer4.0.conv2", "layer4.1.conv2", 2),), norm="layer")
    model = timm.create_model("test_kdna_resnet", plan=plan.to_dict(), num_classes=7).eval()
    assert model.sharing_plan == plan
    assert list(children(model)) == ["layer4.0.conv2"]
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert again.sharing_plan == plan
    with torch.no_grad():
        assert torch.equal(again(images(2)), model(images(2)))
    control = timm.create_model("test_kdna_resnet", plan=plan.to_dict(), ablation="own")
    assert control.sharing_plan == replace(plan, own_kernels=True, adapter="none")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({}, r"plan is no sharing plan \(KeyError: 'shares'\); give what to_dict\(\) of"),
        (SharingPlan(()), r"give plan=plan\.to_dict\(\): a SharingPlan cannot be written"),
        ("auto", "plan is no sharing plan .ValueError"),
        ({"shares": [{"child": "layer4.0.conv2"}]}, "no sharing plan .TypeError: .*'parent'"),
        ({"shares": [{"child": "layer4.0.conv2", "parent": "layer3.0.conv2"}]}, "in stage"),
        (
            {"shares": [{"child": "layer4.0.conv2", "parent": "layer4.1.conv2", "reduction": 2.5}]},
            "reduction must be a whole number of at least 1",
        ),
        ({"shares": [], "norm": "group"}, "unknown norm 'group' in the plan"),
    ],
)
def test_a_plan_that_is_none(plan: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        timm.create_model("test_kdna_resnet", plan=plan)


def test_no_weights_are_claimed_that_do_not_exist() -> None:
    there = [name for name, weights in known_weights().items() if weights.source(name)]
    assert set(timm.list_pretrained(["kdna_*", "test_kdna_*"])) == set(there)
    with pytest.raises(WeightsError, match=r"there are no weights of test_kdna_resnet here\. Tags"):
        timm.create_model("test_kdna_resnet", pretrained=True)
    with pytest.raises(WeightsError, match=r"kdna_resnet18 has no tag 'in22k'\. Tags with weights"):
        timm.create_model("kdna_resnet18.in22k")


@pytest.mark.parametrize("arch", timm.list_models("kdna_*"))
def test_a_tag_that_is_not_there_is_said_in_a_sentence_or_two(arch: str) -> None:
    """With the tags of this network, and no command that is cut off."""
    with pytest.raises(WeightsError, match=r"has no tag 'nope'\. Tags with weights: ") as error:
        timm.create_model(f"{arch}.nope")
    said = str(error.value)
    assert "\\" not in said
    assert len(said) < 350
    for name in weights_of(arch):
        assert name in said


@pytest.mark.parametrize("ablation", ["own", "full"])
def test_depthwise_kernels_start_by_the_fan_out_of_the_layer_where_asked(ablation: str) -> None:
    name = "test_kdna_mobilenetv2"
    timms = timm.create_model(name, ablation=ablation)
    other = timm.create_model(name, ablation=ablation, fix_group_fanout=False)
    assert other.sharing_plan == timms.sharing_plan
    for path, conv in timms.named_modules():
        if isinstance(conv, nn.Conv2d):
            spread = (other.get_submodule(path).weight.std() / conv.weight.std()).item()
            assert spread == pytest.approx(conv.groups**-0.5, rel=0.5), path
    # The base that costs are compared with is timm's own, which has no such argument.
    assert timm.create_model(other.base_arch, **other.base_args)


def test_a_start_of_depthwise_kernels_where_there_are_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"fix_group_fanout=False.*resnet18 has no grouped conv"):
        timm.create_model("kdna_resnet18", fix_group_fanout=False)
