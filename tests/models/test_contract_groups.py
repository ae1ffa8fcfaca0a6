"""Contract: parameter groups, where a child belongs to its own layer and not to its parent's."""

import pytest
import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import nn

from tests.models.support import children, create, on_each_at_length


def rates(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Each parameter's share of the learning rate, and its weight decay."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.5)
        for parameter in group["params"]
    }


def layers(model: nn.Module) -> dict[str, str]:
    """The weight that each parameter of a child stands for in the base; others for themselves."""
    found = {name: name for name, _ in model.named_parameters()}
    for path, child in children(model).items():
        found |= {f"{path}.{name}": f"{path}.weight" for name, _ in child.named_parameters()}
    return found


@pytest.mark.parametrize("coarse", [False, True], ids=["fine", "coarse"])
def test_children_are_in_their_own_layers_group(
    model: nn.Module, base: nn.Module, coarse: bool
) -> None:
    groups, expected = (
        group_parameters(network, network.group_matcher(coarse), reverse=True)
        for network in (model, base)
    )
    assert groups == {name: expected[layer] for name, layer in layers(model).items()}


def test_layer_decay_as_in_the_base(model: nn.Module, base: nn.Module) -> None:
    found, expected = rates(model), rates(base)
    assert {name: scale for name, (scale, _) in found.items()} == {
        name: expected[layer][0] for name, layer in layers(model).items()
    }
    assert {decay for name, (_, decay) in found.items() if ".modulation." in name} == {0}


@on_each_at_length
@pytest.mark.parametrize("optimizer", ["adamw", "lamb", "muon"])
def test_an_optimizer_of_timm_takes_each_parameter_once(name: str, optimizer: str) -> None:
    model = create(name)
    made = create_optimizer_v2(model, opt=optimizer, lr=0.1, weight_decay=0.05, layer_decay=0.7)
    taken = [parameter for group in made.param_groups for parameter in group["params"]]
    assert len(taken) == len(set(taken))
    assert set(taken) == set(model.parameters())
    assert all(isinstance(parameter, torch.nn.Parameter) for parameter in taken)
