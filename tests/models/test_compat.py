"""What the networks take from timm's private parts: each fails when timm changes, or has it."""

import timm
import timm.models

from kdna_zoo.models.compat import (
    DepthwiseSeparableConv,
    InvertedResidual,
    record_arguments,
    recorded_arguments,
)


def test_blocks_of_efficientnet() -> None:
    network = timm.create_model("test_efficientnet")
    kinds = {type(module) for module in network.modules()}
    assert {DepthwiseSeparableConv, InvertedResidual} & kinds
    for name in ("DepthwiseSeparableConv", "InvertedResidual"):
        assert not hasattr(timm.models, name), "timm has it in public"
        assert not hasattr(timm.layers, name), "timm has it in public"


def test_recorded_arguments() -> None:
    network = timm.create_model("test_resnet", num_classes=3, drop_rate=0.1, output_stride=16)
    recorded = recorded_arguments(network)
    assert recorded["num_classes"] == 3
    assert recorded["output_stride"] == 16
    assert not hasattr(network, "model_args"), "timm has it in public"
    record_arguments(network, {"output_stride": 8})
    assert recorded_arguments(network) == {"output_stride": 8}
