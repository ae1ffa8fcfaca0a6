"""Contract: what detectors and segmenters take, the features of chosen stages."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.layers import create_feature_extractor
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor as torchvision_extractor

from tests.models.support import (
    assert_close,
    assert_tied,
    base_of,
    children,
    create,
    images,
    on_each_at_length,
    shapes_only,
)


def metadata(features: nn.Module) -> tuple[list[int], list[int]]:
    return features.feature_info.channels(), features.feature_info.reduction()


def test_feature_info_is_the_bases(model: nn.Module, base: nn.Module) -> None:
    infos = [
        [(info["module"], info["num_chs"], info["reduction"]) for info in network.feature_info]
        for network in (model, base)
    ]
    assert infos[0] == infos[1]


@on_each_at_length
def test_each_single_feature_equals_the_intermediate(name: str) -> None:
    model, x = create(name), images(2)
    for index in range(len(model.feature_info)):
        args = dict(features_only=True, out_indices=(index,))
        features = create(name, **args)
        assert metadata(features) == metadata(base_of(name, **args))
        with torch.no_grad():
            (found,) = features(x)
            (expected,) = model.forward_intermediates(x, [index], intermediates_only=True)
        assert torch.equal(found, expected)
        (channels,), (reduction,) = metadata(features)
        assert found.shape == (2, channels, 64 // reduction, 64 // reduction)
        if children(features):
            assert_tied(features)


def test_forward_intermediates(model: nn.Module) -> None:
    x = images(2)
    with torch.no_grad():
        expected = model.forward_features(x)
        final, intermediates = model.forward_intermediates(x)
    assert torch.equal(final, expected)
    infos = list(model.feature_info)
    assert [tuple(y.shape) for y in intermediates] == [
        (2, info["num_chs"], 64 // info["reduction"], 64 // info["reduction"]) for info in infos
    ]


@on_each_at_length
def test_intermediate_layers_can_be_pruned(name: str) -> None:
    model, x = create(name), images(2)
    last = len(model.feature_info) - 2
    with torch.no_grad():
        expected = model.forward_intermediates(x, [last], intermediates_only=True)
        model.prune_intermediate_layers([last])
        found = model.forward_intermediates(x, [last], intermediates_only=True)
    assert torch.equal(found[0], expected[0])
    assert_tied(model)


@on_each_at_length
@pytest.mark.parametrize("output_stride", [8, 16])
def test_output_stride_as_in_the_base(name: str, output_stride: int) -> None:
    args = dict(features_only=True, output_stride=output_stride)
    features, base = create(name, **args), base_of(name, **args)
    assert metadata(features) == metadata(base)
    assert max(metadata(features)[1]) == output_stride
    with torch.no_grad():
        found = [tuple(y.shape) for y in features(images(2))]
        expected = [tuple(y.shape) for y in base(images(2).to("meta"))]
    assert found == expected


@on_each_at_length
def test_children_keep_their_own_dilation(name: str) -> None:
    """With an output stride of 8 a child's dilation is that of the layer it replaced."""
    model, base = shapes_only(name, output_stride=8), base_of(name, output_stride=8)
    for path, child in children(model).items():
        layer = base.get_submodule(path)
        for attribute in ("stride", "padding", "dilation", "groups"):
            assert getattr(child, attribute, None) == getattr(layer, attribute, None)


@on_each_at_length
@pytest.mark.parametrize(
    "extractor", [create_feature_extractor, torchvision_extractor], ids=["timm", "torchvision"]
)
def test_fx_features(name: str, extractor: Callable[..., Any]) -> None:
    """Features of each stage, and of each child in the middle of one."""
    model, x = create(name), images(2)
    nodes = [*children(model), *(info["module"] for info in model.feature_info)]
    expected: dict[str, torch.Tensor] = {}

    def note(node: str) -> None:
        def hook(_: nn.Module, __: Any, output: torch.Tensor) -> None:
            expected[node] = output.clone()

        handles.append(model.get_submodule(node).register_forward_hook(hook))

    handles: list[Any] = []
    for node in nodes:
        note(node)
    with torch.no_grad():
        model(x)
        for handle in handles:
            handle.remove()
        found = extractor(model, nodes).eval()(x)
    assert found.keys() == expected.keys()
    for node, value in expected.items():
        assert_close(found[node], value, tolerance=1e-6)


@on_each_at_length
def test_fx_extractor_cut_before_a_parent_owns_its_kernel(name: str) -> None:
    model = create(name)
    share = next(iter(model.sharing_plan))
    extractor = create_feature_extractor(model, [share.child])
    assert f"{share.parent}.weight" in extractor.state_dict()
    assert extractor.double()(images(2).double())[share.child].dtype == torch.float64


@on_each_at_length
def test_fx_features_by_timms_builder(name: str) -> None:
    x = images(2)
    features = create(name, features_only=True, feature_cls="fx")
    with torch.no_grad():
        found, expected = features(x), create(name, features_only=True)(x)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, tolerance=1e-6)
