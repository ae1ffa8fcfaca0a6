"""Whole networks by kernels: a training step, the fused form, DDP; and what plans tell apart."""

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

import kdna_zoo
from kdna_zoo.layers import ChannelAttention
from kdna_zoo.layers.kernels import attention_plan, plain_form
from tests.layers.test_child_conv import relative_error

pytestmark = pytest.mark.filterwarnings("error:.*child layer failed:RuntimeWarning")
NAMES = ["test_kdna_resnet", "test_kdna_mobilenetv2", "test_kdna_convnext"]


def step(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Gradients and buffers after a training step."""
    model = copy.deepcopy(model).train()
    model(images).square().sum().backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return grads | dict(model.named_buffers())


def network(name: str, device: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = timm.create_model(name).double().to(device).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, device=device)
    return model, images.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_step_and_the_fused_form(name: str, device: str) -> None:
    model, images = network(name, device)
    fused = kdna_zoo.fuse(model)
    found = step(model, images)
    with torch.inference_mode():
        y = fused(images)
    with plain_form(), torch.inference_mode():
        assert relative_error(y, fused(images)) < 1e-12
    with plain_form():
        expected = step(model, images)
    torch.testing.assert_close(found, expected)


def test_ddp(device: str, tmp_path: Path) -> None:
    model, images = network("test_kdna_resnet", device)
    expected = step(model, images)
    backend = "nccl" if device == "cuda" else "gloo"
    init_process_group(backend, f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(model.train())
        parallel(images).square().sum().backward()
    finally:
        destroy_process_group()
    for name, p in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(p.grad, expected[name])


def plan_of(layer: ChannelAttention, x: Tensor) -> Any:
    found = attention_plan.read(layer, x)
    assert found is not None
    return found[0]


def test_what_decides_the_kernel_decides_the_plan(device: str) -> None:
    """A compiled kernel is launched again only where Triton would take the same one."""
    torch.manual_seed(0)
    layer = ChannelAttention(8, 2).to(device)
    x = torch.randn(2, 8, 4, 4, device=device)
    plan = plan_of(layer, x)
    assert plan_of(layer, x.clone()).forward is plan.forward
    others = [
        plan_of(layer, x[:1]),
        plan_of(layer, x[..., :2].contiguous()),
        plan_of(layer, x.to(memory_format=torch.channels_last)),
        plan_of(ChannelAttention(8, 4).to(device), x),
        plan_of(ChannelAttention(8, 2, "layer").to(device), x),
        plan_of(copy.deepcopy(layer).double(), x.double()),
        plan_of(copy.deepcopy(layer).eval(), x),
        plan_of(copy.deepcopy(layer).requires_grad_(False), x),
        plan_of(layer.eval().fuse(), x),
        plan_of(layer.fuse().requires_grad_(False), x),
        plan_of(without_bias(layer.fuse().requires_grad_(False)), x),
        plan_of(with_eps(copy.deepcopy(layer).train()), x),
    ]
    with torch.autocast(device, torch.bfloat16):
        others.append(plan_of(layer.train(), x))
    tables = [plan.forward, *(other.forward for other in others)]
    assert len({id(table) for table in tables}) == len(tables)


def test_an_address_that_is_no_multiple_of_16_is_left_to_triton(device: str) -> None:
    layer = ChannelAttention(8, 2).to(device)
    x = torch.randn(2 * 8 * 4 * 4 + 1, device=device)
    shifted = x[1:].view(2, 8, 4, 4)
    assert plan_of(layer, shifted).forward is not plan_of(layer, shifted).forward
    with plain_form():
        expected = copy.deepcopy(layer)(shifted)
    torch.testing.assert_close(layer(shifted), expected)


def test_plans_do_not_pile_up(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdna_zoo.layers.kernels.launching.MOST", 3)
    monkeypatch.setattr(attention_plan, "_plans", {})
    layer = ChannelAttention(8, 2).to(device)
    for size in range(1, 9):
        plan_of(layer, torch.randn(2, 8, size, size, device=device))
        assert len(attention_plan._plans) <= 3


def without_bias(layer: Any) -> Any:
    layer.fc1.bias = None
    return layer


def with_eps(layer: Any) -> Any:
    layer.norm.eps = 1e-3
    return layer
