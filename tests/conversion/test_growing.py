"""Growing: new blocks are the identity, and published plans and counts come out exactly."""

from typing import Any

import timm
import torch

from kdna_zoo import convert
from kdna_zoo.conversion import grow
from kdna_zoo.sharing import plan_of
from tests.conversion.support import trained_like


@torch.inference_mode()
def test_resnet50_becomes_the_published_network_with_its_classifier() -> None:
    source: Any = trained_like("resnet50")
    grown, plan = grow(source, "kdna_resnet50")
    with torch.device("meta"):
        published = timm.create_model("kdna_resnet50")
    assert plan == plan_of(published)
    assert grown.added == ("layer3.6",)
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(source(x), grown.network.eval()(x))
    found: Any = convert(grown, plan, match=False, progress=False)
    assert sum(p.numel() for p in found.parameters()) == 22_778_060
    assert found.state_dict().keys() == published.state_dict().keys()
    assert torch.equal(found.fc.weight, source.fc.weight)
    assert found.conversion_report.added == ("layer3.6",)
    errors = {layer.path: layer.errors for layer in found.conversion_report.layers}
    assert errors["layer3.5.conv2"]["fit"] < 1e-6, "its parent is new, and free"
    assert errors["layer3.1.conv2"]["fit"] > 0.1


@torch.inference_mode()
def test_resnet18_grows_where_most_kernels_are_free() -> None:
    source: Any = trained_like("resnet18", num_classes=7)
    grown, plan = grow(source, "kdna_resnet18")
    assert grown.added == ("layer3.1", "layer4.1")
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(source(x), grown.network(x))
    found: Any = convert(grown, plan, match=False, progress=False)
    with torch.device("meta"):
        published = timm.create_model("kdna_resnet18", num_classes=7)
    assert sum(p.numel() for p in found.parameters()) == sum(
        p.numel() for p in published.parameters()
    )
    errors = {layer.path: layer.errors for layer in found.conversion_report.layers}
    assert errors["layer3.0.conv2"]["fit"] < 1e-6
    assert errors["layer3.1.conv1"] == {}, "the new block's own: nobody misses it"


@torch.inference_mode()
def test_networks_of_equal_depth_keep_their_blocks() -> None:
    source: Any = trained_like("mobilenetv2_050", num_classes=3)
    grown, plan = grow(source, "kdna_mobilenetv2_050")
    assert grown.added == ()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(source(x), grown.network(x))
    with torch.device("meta"):
        assert plan == plan_of(timm.create_model("kdna_mobilenetv2_050"))
