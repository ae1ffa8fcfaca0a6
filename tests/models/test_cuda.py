"""On a GPU the networks compute what they compute on a CPU. Needs one, and is skipped without."""

from copy import deepcopy

import pytest
import timm
import torch

import kdna_zoo

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

NAMES = [
    "test_kdna_resnet",
    "test_condconv_resnet",
    "test_odconv_resnet",
    "test_odconv4x_resnet",
    "test_kw_resnet",
    "test_kwhalf_resnet",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_training_step_is_that_of_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    here = timm.create_model(name).double().train()
    there = deepcopy(here).cuda()
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    expected, found = here(images), there(images.cuda())
    torch.testing.assert_close(found.cpu(), expected)
    expected.square().sum().backward()
    found.square().sum().backward()
    for (key, a), b in zip(here.named_parameters(), there.parameters(), strict=True):
        if a.grad is not None:
            assert b.grad is not None, key
            torch.testing.assert_close(b.grad.cpu(), a.grad)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_half_precision_is_close(name: str, memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    images = torch.randn(4, 3, 64, 64)
    half = deepcopy(model).to("cuda", torch.bfloat16).to(memory_format=memory_format)
    given = images.to("cuda", torch.bfloat16).to(memory_format=memory_format)
    with torch.inference_mode():
        expected, found = model(images), half(given).float().cpu()
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_fused_on_a_gpu_is_the_same() -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_kdna_resnet").double().cuda().eval()
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64, device="cuda")
    with torch.inference_mode():
        torch.testing.assert_close(kdna_zoo.fuse(deepcopy(model))(images), model(images))
