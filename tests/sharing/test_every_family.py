"""One small member of every convolutional family of timm: it shares, or says why not."""

import copy
import re
from collections import defaultdict
from typing import Any

import pytest
import timm
import torch
from timm.models import model_entrypoint
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

import kdna_zoo
from kdna_zoo import PlanError, auto_plan, share_kernels
from kdna_zoo.layers import Child
from kdna_zoo.sharing import plan_of, stage_of

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4  # timm merges in single precision
NO_EQUALS = "no two convolutions or linear layers of one stage have one role"
# Family -> why its smallest member does not share
NO_PLAN = {
    "byobnet.test": NO_EQUALS,  # one or two blocks in a stage
    "convmixer.convmixer": r"looked at stem .* and \d+ more, where stages are what timm's feature",
    "cspnet.darknet": NO_EQUALS,  # one block in a stage
    "cspnext.cspnext": NO_EQUALS,  # one block in a stage
    "efficientnet.test": NO_EQUALS,
    "efficientnet.tinynet": NO_EQUALS,  # so narrow that an adapter costs more than a kernel
    "nfnet.eca": r"looked at head \(1 layers\).* \d+ ScaledStdConv2d(Same)?, which compute more",
    "nfnet.test": r"it has .*\d+ ScaledStdConv2d, which compute more",
    "resnest.resnest": NO_EQUALS,  # one block in a stage
    "resnet.resnet": NO_EQUALS,  # one block in a stage
    "resnet.test": NO_EQUALS,
    "rexnet.rexnet": NO_EQUALS,  # each block is wider than the one before
    "rexnet.rexnetr": NO_EQUALS,
}


def _families() -> dict[str, list[str]]:
    """Names by module of timm and first letters: ``byobnet.repvgg``."""
    families: dict[str, list[str]] = defaultdict(list)
    for name in timm.list_models():
        entry: Any = model_entrypoint(name)
        if entry.__module__.startswith("timm."):
            letters = re.match("[a-z]+", name)
            assert letters
            families[f"{entry.__module__.rpartition('.')[2]}.{letters[0]}"].append(name)
    return families


FAMILIES = _families()


def on_meta(name: str, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = timm.create_model(name, **arguments)
    return model


def built(name: str) -> nn.Module:
    """The network on the meta device, or with values if it computes with them while built."""
    try:
        return on_meta(name)
    except (NotImplementedError, RuntimeError):
        network: nn.Module = timm.create_model(name)
        return network


def smallest(family: str) -> str:
    """The member with the fewest parameters, or a skip if the family is not convolutional."""
    shortest = min(FAMILIES[family], key=len)
    convs = [m for m in built(shortest).modules() if isinstance(m, nn.Conv2d)]
    if len(convs) < 8:
        pytest.skip(f"{shortest} has {len(convs)} convolutions: not a convolutional family")
    sizes = {}
    for name in FAMILIES[family]:
        sizes[name] = sum(p.numel() for p in built(name).parameters())
    return min(sizes, key=sizes.__getitem__)


def images_for(model: nn.Module) -> Tensor:
    """The smallest images that a network takes."""
    config: Any = model.pretrained_cfg
    channels, *size = config["input_size"]
    for side in (64, 128, 192):
        try:
            with torch.no_grad():
                model(torch.zeros(1, channels, side, side))
        except Exception:
            continue
        return torch.randn(2, channels, side, side)
    return torch.randn(2, channels, *size)


def trained(model: nn.Module, x: Tensor) -> nn.Module:
    """Norms and adapters far from their start, with the statistics that belong to them.

    With others the maps of a deep network grow until it amplifies rounding without bounds.
    """
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.2 * torch.rand_like(parameter)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of what it sees
    with torch.no_grad():
        model.train()(torch.cat([x, torch.randn_like(x), torch.randn_like(x)]))
    return model.eval()


def difference(first: nn.Module, second: nn.Module, x: Tensor) -> float:
    """The largest difference of two logits, over the largest; in double precision."""
    with torch.no_grad():
        expected = copy.deepcopy(second).double()(x.double())
        found = copy.deepcopy(first).double()(x.double())
    return float((found - expected).abs().max() / expected.abs().max())


def fused_equals(model: nn.Module, x: Tensor) -> nn.Module:
    fused = kdna_zoo.fuse(copy.deepcopy(model).double())
    assert difference(fused, model, x) < TOLERANCE
    return fused


def says(model: nn.Module) -> str:
    """What timm's own reparameterization fails with; empty if it does not."""
    try:
        reparameterize_model(model)
    except AttributeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("family", FAMILIES)
def test_shares_or_says_why_not(family: str) -> None:
    torch.manual_seed(0)
    name = smallest(family)
    base = timm.create_model(name, num_classes=7).eval()
    x = images_for(base)
    twice = says(reparameterize_model(base))  # some of timm's own fail on what they merged
    fused_equals(trained(copy.deepcopy(base), x), x)
    if family in NO_PLAN:
        with pytest.raises(PlanError, match=NO_PLAN[family]):
            auto_plan(base)
        return
    plan = auto_plan(base)
    before = gradients(base, x)
    size = sum(p.numel() for p in base.parameters())
    model = share_kernels(base, plan)
    assert sum(p.numel() for p in model.parameters()) < size
    assert plan_of(model) == plan
    for share in plan:
        assert stage_of(model, share.child) == stage_of(model, share.parent)
    assert gradients(model, x) == before

    fused = fused_equals(trained(model, x), x)
    assert not any(isinstance(module, Child) for module in fused.modules())
    if error := says(model):
        assert "Fuse the network first, by kdna_zoo.fuse(model)" in error
    else:
        assert difference(reparameterize_model(model), model, x) < TOLERANCE
    assert says(fused) in ("", twice)


def gradients(model: nn.Module, x: Tensor) -> list[str]:
    """The parameters that a backward pass leaves out."""
    model.zero_grad()
    model.train()(x).sum().backward()
    return [name for name, parameter in model.named_parameters() if parameter.grad is None]
