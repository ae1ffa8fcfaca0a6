"""The controls of the ablation: which parameters each has, and what it computes."""

import copy
import functools
import json
from dataclasses import replace
from typing import Any, get_args

import pytest
import timm
import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

import kdna_zoo
from kdna_zoo.errors import UserError
from kdna_zoo.layers import Child
from kdna_zoo.sharing import (
    CONTROLS,
    PlanError,
    Share,
    SharingPlan,
    ablate,
    alternate_blocks_plan,
    audit,
    basic_block_plan,
    last_block_plan,
)
from kdna_zoo.sharing.deploy import Keep

TINY = timm.list_models("test_kdna_*")

on_each = pytest.mark.parametrize("name", TINY)
on_each_control = pytest.mark.parametrize("control", CONTROLS)


def create(name: str, control: str, **args: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(name, ablation=control, num_classes=7, **args).eval()


def create_base(name: str) -> Any:
    """The equal-depth network of timm, with the same seed."""
    model = create(name, "full")
    torch.manual_seed(0)
    return timm.create_model(model.base_arch, **model.base_args).eval()


def perturb(model: nn.Module) -> nn.Module:
    """Move vectors and statistics away from their start, where an adapter would not show."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.data += torch.linspace(0.1, 0.3, len(tensor))
    return model


def children(model: nn.Module) -> dict[str, Child[Any]]:
    return {path: module for path, module in model.named_modules() if isinstance(module, Child)}


@functools.cache
def images(size: int = 64) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def difference(model: nn.Module, other: nn.Module) -> float:
    with torch.no_grad():
        expected = other(images())
        return float((model(images()) - expected).abs().max() / expected.abs().max())


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@on_each
def test_parameter_counts_add_up(name: str) -> None:
    counts = {control: count(create(name, control)) for control in CONTROLS}
    model, base = create(name, "full"), create_base(name)
    attention = static = kernels = 0
    for share in model.sharing_plan:
        weight = base.get_parameter(f"{share.child}.weight")
        outputs, inputs = weight.shape[:2]
        hidden = max(inputs // share.reduction, 1)
        attention += 2 * inputs * hidden + inputs + 2 * hidden
        positions = weight[0, 0].numel()
        static += outputs + (positions if positions > 1 else 0)
        kernels += weight.numel()
    assert counts["own"] == count(base)
    assert counts["own_channel"] == counts["own"] + attention
    assert counts["shared"] == counts["own"] - kernels
    assert counts["shared_channel"] == counts["shared"] + attention
    assert counts["shared_static"] == counts["shared"] + static
    assert counts["full"] == counts["shared"] + attention + static
    assert counts["parents_first"] == counts["full"]


@on_each
@on_each_control
def test_the_audit_adds_up(name: str, control: str) -> None:
    model, rows = create(name, control), audit(create(name, control))
    assert sum(row.own + row.adapter for row in rows) == count(model)
    assert sum(row.own + row.shared for row in rows) == count(create_base(name))
    owned = {row.path for row in rows if row.path in children(model) and not row.shared}
    assert owned == (set(children(model)) if control.startswith("own") else set())


@on_each
@on_each_control
def test_one_seed_gives_every_control_the_same_kernels(name: str, control: str) -> None:
    start, base = create(name, control).state_dict(), create_base(name).state_dict()
    common = set(start) & set(base)
    assert all(torch.equal(start[key], base[key]) for key in common)
    expected = set(base)
    if not control.startswith("own"):
        expected -= {f"{path}.weight" for path in children(create(name, control))}
    assert common == expected


@on_each
@on_each_control
def test_zero_modulation_and_open_gates_are_timms_network(name: str, control: str) -> None:
    model, base = create(name, control), create_base(name)
    for path, child in children(model).items():
        base.get_parameter(f"{path}.weight").data = child.parent.weight.detach()
        if isinstance(child.channel_attn, nn.Identity):
            continue
        nn.init.zeros_(child.channel_attn.fc2.weight)
        nn.init.constant_(child.channel_attn.fc2.bias, 100.0)
    with torch.no_grad():
        assert torch.equal(model(images()), base(images()))


@on_each
def test_own_kernels_without_adapter_are_timms_network(name: str) -> None:
    base = perturb(create_base(name))
    model = timm.create_model(name, ablation="own", num_classes=7).eval()
    model.load_state_dict(base.state_dict())  # each name is timm's
    with torch.no_grad():
        assert torch.equal(model(images()), base(images()))


@on_each
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_channel_attention_only_is_full_with_zero_modulation(name: str, own: bool) -> None:
    """And so for kernels of their own, which a plan can have with any adapter."""
    full, part = create(name, "full"), create(name, "own_channel" if own else "shared_channel")
    if own:
        base = create_base(name)
        full = kdna_zoo.share_kernels(base, replace(full.sharing_plan, own_kernels=True))
    perturb(full)
    for child in children(full).values():
        child.modulation.reset_parameters()
    part.load_state_dict({k: v for k, v in full.state_dict().items() if "modulation" not in k})
    with torch.no_grad():
        assert torch.equal(part(images()), full(images()))
        assert torch.equal(part.train()(images()), full.train()(images()))


@on_each
@on_each_control
def test_parents_run_after_their_children_but_in_the_last_control(name: str, control: str) -> None:
    model, order = create(name, control), []
    for path, module in model.named_modules():
        module.register_forward_hook(lambda *_, path=path: order.append(path))
    model(images())
    for share in model.sharing_plan:
        after = order.index(share.child) > order.index(share.parent)
        assert after == (control == "parents_first"), share


@on_each
@on_each_control
def test_copies_are_equal_independent_and_without_aliases(name: str, control: str) -> None:
    model = perturb(create(name, control))
    copied = copy.deepcopy(model)
    pointers = [t.data_ptr() for net in (model, copied) for t in net.state_dict().values()]
    assert len(pointers) == len(set(pointers))
    assert all(child.parent in set(copied.modules()) for child in children(copied).values())
    other = create(name, control)
    other.load_state_dict(model.state_dict(), assign=True)
    with torch.no_grad():
        expected = model(images())
        assert torch.equal(copied(images()), expected)
        assert torch.equal(other(images()), expected)


@on_each
@on_each_control
def test_every_parameter_gets_a_gradient(name: str, control: str) -> None:
    model = perturb(create(name, control)).train()
    model(images()).square().sum().backward()
    assert [path for path, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("keep", get_args(Keep))
@on_each
@on_each_control
def test_fused_equals_unfused(name: str, control: str, keep: Keep) -> None:
    model = perturb(create(name, control))
    if keep == "size" and (name == "test_kdna_resnet" or control.startswith("own")):
        with pytest.raises(UserError, match=r'no 1x1 kernel is shared .* use keep="speed"'):
            kdna_zoo.fuse(model, keep)
        return
    fused = kdna_zoo.fuse(model, keep)
    assert difference(fused, model) < 1e-5
    assert difference(kdna_zoo.fuse(fused, keep), model) < 1e-5, "again"
    pointers = [p.data_ptr() for p in fused.parameters()]
    assert len(pointers) == len(set(pointers))
    if keep == "speed":
        assert not any(isinstance(m, Child | nn.BatchNorm2d) for m in fused.modules())
    else:
        assert count(fused) < count(kdna_zoo.fuse(model))


@on_each
@on_each_control
def test_timms_own_reparameterize_gives_the_same(name: str, control: str) -> None:
    model = perturb(create(name, control))
    baked = reparameterize_model(model)
    assert difference(baked, model) < 1e-5
    assert not any(isinstance(m, Child) for m in baked.modules())


@on_each
@pytest.mark.parametrize("control", ["own", "shared", "shared_static"])
def test_without_channel_attention_the_deployed_form_is_timms(name: str, control: str) -> None:
    model, base = perturb(create(name, control)), create_base(name)
    base.load_state_dict(reparameterize_model(model).state_dict())
    assert difference(base, model) < 1e-5


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "control"),
    [*((name, "own_channel") for name in TINY), ("test_kdna_mobilenetv2", "shared")],
)
def test_exports_and_compiles(name: str, control: str) -> None:
    model = perturb(create(name, control))
    batch = torch.export.Dim("batch", min=1, max=16)
    program = torch.export.export(model, (images(32),), dynamic_shapes=({0: batch},))
    assert set(program.state_dict) == set(model.state_dict())
    torch._dynamo.reset()
    compiled: Any = torch.compile(model, fullgraph=True, backend="eager")
    three = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(program.module()(three), model(three), rtol=1e-4, atol=1e-5)
        assert torch.allclose(compiled(three), model(three), rtol=1e-4, atol=1e-5)


def test_parents_first_in_each_rule() -> None:
    assert str(basic_block_plan({"layer3": 3}).parents_first()).splitlines() == [
        "layer3.1.conv1 <- layer3.0.conv2 (r=4)",
        "layer3.1.conv2 <- layer3.0.conv2 (r=4)",
        "layer3.2.conv2 <- layer3.2.conv1 (r=4)",
    ]
    layers = {"mlp.fc1": 4, "mlp.fc2": 24}
    assert str(alternate_blocks_plan({"s": 3}, layers).parents_first()).splitlines() == [
        "s.2.mlp.fc1 <- s.1.mlp.fc1 (r=4)",
        "s.2.mlp.fc2 <- s.1.mlp.fc2 (r=24)",
    ]
    plan = last_block_plan({"blocks.3": 4}, {"conv_pw": 4, "conv_pwl": 24}, norm="layer")
    assert str(plan.parents_first()).splitlines() == [
        f"blocks.3.{block}.{conv} <- blocks.3.1.{conv} (r={r})"
        for conv, r in (("conv_pw", 4), ("conv_pwl", 24))
        for block in (2, 3)
    ]
    assert plan.parents_first().norm == "layer"


def test_plans_print_and_travel() -> None:
    plan = SharingPlan((Share("a", "b"),), "layer")
    plans = [ablate(plan, control) for control in CONTROLS]
    assert [str(plan).splitlines() for plan in plans] == [
        ["own kernels, no adapter", "a (r=4)"],
        ["own kernels, channel attention only", "a (r=4)"],
        ["no adapter", "a <- b (r=4)"],
        ["channel attention only", "a <- b (r=4)"],
        ["static modulation only", "a <- b (r=4)"],
        ["a <- b (r=4)"],
        ["b <- a (r=4)"],
    ]
    assert len(set(plans)) == len(CONTROLS)
    for plan in plans:
        assert SharingPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    earlier = {"norm": "batch", "shares": [{"child": "a", "parent": "b", "reduction": 4}]}
    assert SharingPlan.from_dict(earlier) == SharingPlan((Share("a", "b"),))


def test_what_there_is_not() -> None:
    with pytest.raises(
        PlanError, match="unknown adapter 'both' in the plan; choose one of full, channel, static,"
    ):
        SharingPlan((), adapter="both")
    listed = "own, own_channel, shared, shared_channel, shared_static, full, parents_first"
    with pytest.raises(PlanError, match=f"unknown ablation 'd'; choose one of {listed}"):
        ablate(SharingPlan(()), "d")
    with pytest.raises(PlanError, match="unknown ablation 'd'; choose one of own, own_channel"):
        timm.create_model("test_kdna_resnet", ablation="d")
