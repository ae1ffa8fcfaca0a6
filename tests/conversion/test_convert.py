"""A trained network converted end to end: accuracies, the report, and what stays as it was."""

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo import Share, SharingPlan, audit, convert
from kdna_zoo.conversion import ConversionReport
from kdna_zoo.errors import UserError
from kdna_zoo.layers import ChannelAttention, ChildConv2d
from kdna_zoo.sharing import ablate
from tests.conversion.conftest import Batches
from tests.conversion.support import trained_like

PLAN = SharingPlan(
    tuple(Share(f"layer{s}.1.conv{k}", f"layer{s}.2.conv{k}") for s in (3, 4) for k in (1, 2))
)


def top1(report: ConversionReport) -> dict[str, float]:
    return {step.name: step.top1 for step in report.steps if step.top1 is not None}


@pytest.fixture(scope="module")
def converted(trained: nn.Module, images: Batches, held_out: Batches) -> nn.Module:
    return convert(trained, PLAN, images, evaluate=held_out, refine=24, progress=False)


def report_of(model: nn.Module) -> ConversionReport:
    report = model.conversion_report
    assert isinstance(report, ConversionReport)
    return report


def test_a_trained_network_keeps_its_accuracy(converted: nn.Module, trained: nn.Module) -> None:
    report = report_of(converted)
    accuracy = top1(report)
    assert accuracy["source"] > 0.75
    assert accuracy["fit"] > accuracy["share"] + 0.01
    assert accuracy["refine"] > accuracy["source"] - 0.015
    assert list(accuracy) == ["source", "share", "match", "fit", "norms", "refine"]
    error = {step.name: step.error or 0.0 for step in report.steps}
    assert error["source"] == 0
    assert error["share"] > error["fit"] > error["norms"] > error["refine"]


def test_the_report_says_what_each_layer_costs_and_saves(
    converted: nn.Module, trained: nn.Module
) -> None:
    report = report_of(converted)
    before, after = (sum(p.numel() for p in m.parameters()) for m in (trained, converted))
    assert report.parameters == (before, after)
    assert sum(layer.saved for layer in report.layers) == before - after
    assert sum(row.own + row.adapter for row in audit(converted)) == after
    children = [layer for layer in report.layers if layer.path != layer.parent]
    assert [(layer.path, layer.parent) for layer in children] == [
        (share.child, share.parent) for share in PLAN
    ]
    for layer in children:
        assert layer.errors["share"] > 2 * layer.errors["fit"] > 0
    data = json.loads(json.dumps(report.to_dict()))
    assert SharingPlan.from_dict(data["plan"]) == PLAN
    assert data["images"] == 600
    assert data["evaluated"] == 500
    assert "37,770 -> 29,262 parameters" in str(report)


def test_the_source_is_not_changed(trained: nn.Module, images: Batches) -> None:
    trained.train()
    before = copy.deepcopy(trained.state_dict())
    random = torch.get_rng_state()
    convert(trained, PLAN, images, refine=2, progress=False)
    assert trained.training
    trained.eval()
    assert all(tensor.equal(before[key]) for key, tensor in trained.state_dict().items())
    assert not hasattr(trained, "sharing_plan")
    assert all(p.grad is None and p.requires_grad for p in trained.parameters())
    assert torch.equal(random, torch.get_rng_state())


def test_the_same_seed_gives_the_same_network(trained: nn.Module, images: Batches) -> None:
    states = []
    for drawn in (1, 2):
        torch.manual_seed(drawn)
        found = convert(trained, PLAN, images[:4], refine=3, seed=5, progress=False)
        states.append(found.state_dict())
    assert all(tensor.equal(states[1][key]) for key, tensor in states[0].items())


def test_images_come_in_any_form(trained: nn.Module, images: Batches) -> None:
    tensors = [x for x, _ in images[:2]]
    states = []
    for form in (tensors, images[:2], [{"image": x, "label": y} for x, y in images[:2]]):
        states.append(convert(trained, PLAN, form, refine=0, progress=False).state_dict())
    for state in states[1:]:
        assert all(tensor.equal(states[0][key]) for key, tensor in state.items())


def test_without_images_the_weights_are_fitted(trained: nn.Module, held_out: Batches) -> None:
    report = report_of(convert(trained, PLAN, evaluate=held_out, progress=False))
    accuracy = top1(report)
    assert accuracy["fit"] > accuracy["share"]
    steps = {step.name: (step.done, step.note) for step in report.steps}
    assert steps["norms"] == (False, "needs images")
    assert steps["refine"] == (False, "needs images")
    assert steps["fit"] == (True, "to the weights alone")


def test_the_weights_alone_can_be_fitted_for_all_the_images(
    trained: nn.Module, images: Batches, held_out: Batches
) -> None:
    fits: Any = ("weights", "outputs")
    found = {
        fit: report_of(convert(trained, PLAN, images, fit=fit, refine=0, progress=False))
        for fit in fits
    }
    errors: dict[str, Any] = {}
    for fit, report in found.items():
        step = report.step("norms")
        errors[fit] = step and step.error
    assert errors["outputs"] < errors["weights"]
    wrong: Any = "best"
    with pytest.raises(UserError, match="fit is True, False, 'outputs' or 'weights', got 'best'"):
        convert(trained, PLAN, fit=wrong)


def test_each_step_can_be_left_out(trained: nn.Module, images: Batches) -> None:
    found = convert(
        trained, PLAN, images, match=False, fit=False, norms=False, refine=False, progress=False
    )
    report = report_of(found)
    assert [step.name for step in report.steps if step.done] == ["source", "share"]
    child = found.get_submodule("layer4.1.conv1")
    assert isinstance(child, ChildConv2d)
    gate = child.channel_attn.gate(torch.zeros(1, 16)).detach()
    assert gate.unique().tolist() == [pytest.approx(0.9)]
    kernel = gate[0, 0] * child.child_kernel()
    torch.testing.assert_close(kernel, trained.get_submodule("layer4.2.conv1").weight)
    for key, tensor in trained.state_dict().items():
        if "layer4.1.conv" not in key and "layer3.1.conv" not in key:
            assert tensor.equal(found.state_dict()[key])


def test_the_attention_at_rest_is_a_constant_below_one(trained: nn.Module) -> None:
    child = convert(trained, PLAN, progress=False).get_submodule("layer4.1.conv1")
    assert isinstance(child, ChildConv2d)
    attention = child.channel_attn
    assert isinstance(attention, ChannelAttention)
    assert not attention.fc2.weight.any()
    gates = attention.gate(torch.randn(3, 16)).detach()
    assert torch.equal(gates[0], gates[2])
    assert float(gates.max()) == pytest.approx(0.9, abs=1e-3)
    assert gates.min() > 0


@pytest.mark.parametrize("adapter", ["full", "channel", "static"])
def test_layers_that_are_alike_up_to_their_adapter_are_found_exactly(adapter: str) -> None:
    """Hidden channels out of order, and factors that the adapter has: nothing is lost."""
    model = trained_like("resnet18", channels=(8, 8, 16, 24), layers=(1, 1, 1, 3), num_classes=5)
    generator = torch.Generator().manual_seed(0)

    def factors(*shape: int) -> Tensor:
        return 0.5 + torch.rand(shape, generator=generator)

    order = torch.randperm(24, generator=generator)
    child, parent = model.get_submodule("layer4.1"), model.get_submodule("layer4.2")
    for k in (1, 2):
        kernel = getattr(parent, f"conv{k}").weight.detach().clone()
        if adapter != "channel":
            kernel = kernel * factors(24, 1, 1, 1) * factors(1, 1, 3, 3)
        if adapter != "static":
            kernel = kernel * factors(1, 24, 1, 1)
        kernel = kernel[order] if k == 1 else kernel[:, order]
        getattr(child, f"conv{k}").weight.data = kernel
    shares = tuple(Share(f"layer4.1.conv{k}", f"layer4.2.conv{k}") for k in (1, 2))
    plan = ablate(SharingPlan(shares), {"full": "full"}.get(adapter, f"shared_{adapter}"))
    found = convert(model, plan, refine=False, progress=False)
    x = torch.randn(4, 3, 64, 64, generator=generator)
    with torch.inference_mode():
        before, after = model(x), found(x)
    assert (before - after).square().mean() < 1e-3 * before.var()
    for layer in report_of(found).layers:
        assert layer.errors["fit"] < 1e-3


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("mobilenetv2_050", ["blocks.3.1.conv_pw", "blocks.3.1.conv_pwl", "blocks.3.1.conv_dw"]),
        ("convnext_atto", ["stages.2.blocks.1.mlp.fc1", "stages.2.blocks.1.mlp.fc2"]),
        ("regnety_002", ["s4.b2.conv1.conv", "s4.b2.conv2.conv"]),
        ("resnet26t", ["layer2.1.conv1", "layer2.1.conv2", "layer2.1.conv3"]),
    ],
)
def test_families(name: str, pairs: list[str]) -> None:
    model = trained_like(name, num_classes=7, **LAYERS.get(name, {}))
    shares = tuple(Share(path, path.replace(".1.", ".2.").replace("b2.", "b3.")) for path in pairs)
    plan = SharingPlan(shares, "layer" if "convnext" in name else "batch")
    images = [torch.randn(8, 3, 64, 64) for _ in range(2)]
    report = report_of(convert(model, plan, images, refine=4, progress=False))
    steps = {step.name: step for step in report.steps}
    assert steps["match"].done
    assert (steps["norms"].error or 0) < (steps["fit"].error or 0) if "convnext" not in name else 1
    for layer in report.layers:
        if layer.path != layer.parent:
            assert layer.errors["fit"] < 0.95 * layer.errors["share"]


LAYERS: dict[str, dict[str, object]] = {"resnet26t": {"layers": (1, 3, 1, 1)}}


def test_where_nothing_can_be_traced_the_step_is_left_out_and_said(trained: nn.Module) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = copy.deepcopy(trained)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net(x if x.sum() > -1e9 else -x)
            return y

    shares = tuple(Share(f"net.{s.child}", f"net.{s.parent}") for s in PLAN)
    report = report_of(convert(Odd().eval(), SharingPlan(shares), progress=False))
    step = report.step("match")
    assert step is not None
    assert not step.done
    assert step.note.startswith("not traceable: symbolically traced variables cannot be used")


def test_a_control_with_kernels_of_its_own_is_converted_as_an_ordinary_network() -> None:
    import timm

    control = timm.create_model("test_kdna_resnet", ablation="own", num_classes=5)
    plan = SharingPlan((Share("layer4.1.conv1", "layer4.1.conv2"),))
    found = convert(control, plan, progress=False)
    assert [type(m).__name__ for m in found.modules()].count("ChildConv2d") == 1
    assert found.sharing_plan == plan
