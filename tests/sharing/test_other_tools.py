"""Tools that take networks apart: torch.jit.script and torchao."""

import copy

import pytest
import timm
import torch
from torch import nn

import kdna_zoo

NAMES = timm.list_models("test_kdna_*")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_scripts_once_fused(name: str) -> None:
    model = timm.create_model(name, num_classes=3).eval()
    before = list(model.named_modules())
    with pytest.raises(RuntimeError, match=r"another layer's weight\. Fuse the network first, by"):
        torch.jit.script(model)
    assert list(model.named_modules()) == before, "the network was touched"
    fused, x = kdna_zoo.fuse(model), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(torch.jit.script(fused)(x), fused(x))


@pytest.mark.parametrize("form", ["unfused", "size", "speed"])
def test_weights_in_eight_bits(form: str) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    model: nn.Module = timm.create_model("test_kdna_convnext", num_classes=3)
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.eval()
    model = model if form == "unfused" else kdna_zoo.fuse(model, form)
    quantized = copy.deepcopy(model)
    quantization.quantize_(quantized, quantization.Int8WeightOnlyConfig())
    assert type(quantized.get_submodule("head.fc").weight).__name__ == "Int8Tensor"
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = model(x), quantized(x)
    difference = float((found - expected).abs().max() / expected.abs().max())
    assert 0 < difference < 0.02
