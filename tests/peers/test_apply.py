"""Dynamic convolutions in any network, and what cannot be made dynamic."""

import pytest
import timm
import torch
from torch import nn

from kdna_zoo.peers import CondConv, DYConv, DYConv2d, Operator, PeerError, make_dynamic


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.Flatten())


@pytest.mark.parametrize("operator", [CondConv(2), DYConv(2)], ids=str)
@pytest.mark.parametrize("name", ["vgg11", "densenet121", "regnetx_002"])
def test_takes_any_network_of_timm(name: str, operator: Operator) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=3).eval()
        convs = sum(isinstance(module, nn.Conv2d) for module in model.modules())
        make_dynamic(model, operator)
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 3)
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 1 < convs


def test_keeps_bias_and_mode() -> None:
    model = small().eval()
    bias = model[2].bias
    make_dynamic(model, DYConv())
    assert isinstance(model[2], DYConv2d)
    assert model[2].bias is bias
    assert not model[2].training


def test_an_unknown_path_names_the_nearest() -> None:
    model = timm.create_model("test_resnet")
    with pytest.raises(PeerError, match=r"no layer 'layer1\.0\.conv9' .* did you mean layer1\.0"):
        make_dynamic(model, CondConv(), ["layer1.0.conv9"])


def test_only_plain_convolutions() -> None:
    model = small()
    with pytest.raises(PeerError, match="'1' is a ReLU, and only a plain Conv2d"):
        make_dynamic(model, DYConv(), ["2", "1"])
    assert type(model[2]) is nn.Conv2d, "an error leaves the network untouched"
    make_dynamic(model, DYConv(), ["2"])
    with pytest.raises(PeerError, match="'2' is a DYConv2d"):
        make_dynamic(model, DYConv(), ["2"])


def test_a_network_without_convolutions() -> None:
    with pytest.raises(PeerError, match="the network has 0 plain convolutions"):
        make_dynamic(nn.Sequential(nn.Linear(3, 3)), CondConv())


@pytest.mark.parametrize("args", [dict(padding="same"), dict(padding=1, padding_mode="reflect")])
def test_padding_that_is_not_so_many_zeros(args: dict[str, object]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3, **args))
    with pytest.raises(PeerError, match="pads with zeros, so many at each side"):
        make_dynamic(model, DYConv())
