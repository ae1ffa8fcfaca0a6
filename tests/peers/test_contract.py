"""What every network of the peers must do: found in timm's registry, so a new one costs no edit.

This is the part of the contract in tests/models that a network with a kernel for each sample can
keep. What it cannot is tested too: an export to ONNX with the batch size left open.
"""

import copy
import io
import pickle
import re
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import timm
import torch
from timm.layers import convert_sync_batchnorm, create_feature_extractor
from timm.optim import create_optimizer_v2
from torch import nn
from torch.export import Dim

from kdna_zoo.peers import Annealed
from kdna_zoo.training.network import create_network
from tests.models.support import (
    assert_all_close,
    assert_close,
    create,
    gradients,
    images,
    shapes_only,
)

NAMES = [*timm.list_models(module="kdna_peers"), *timm.list_models(module="kdna_kw")]
TINY = [name for name in NAMES if name.startswith("test_")]

on_each = pytest.mark.parametrize("name", NAMES)
on_each_at_length = pytest.mark.parametrize(
    "name",
    [n if n in TINY else pytest.param(n, marks=pytest.mark.integration) for n in NAMES],
)
on_tiny = pytest.mark.parametrize("name", TINY)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@on_each
def test_docstring_states_the_count_and_the_limit(name: str) -> None:
    doc = timm.model_entrypoint(name).__doc__ or ""
    stated = re.search(r"([\d,]+) parameters", doc)
    if name not in TINY:
        assert stated
        assert int(stated[1].replace(",", "")) == parameters(shapes_only(name))


@on_each_at_length
def test_built_on_the_meta_device_with_other_classes_and_channels(name: str) -> None:
    model: Any = shapes_only(name, num_classes=7, in_chans=1)
    assert model(torch.empty(2, 1, 224, 224, device="meta")).shape == (2, 7)
    assert timm.is_model(model.base_arch)


@on_each_at_length
def test_each_stage_as_in_the_base(name: str) -> None:
    model: Any = shapes_only(name, features_only=True)
    whole: Any = shapes_only(name)
    base: Any = shapes_only(whole.base_arch, **whole.base_args, features_only=True)
    x = torch.empty(2, 3, 64, 64, device="meta")
    assert [y.shape for y in model(x)] == [y.shape for y in base(x)]
    assert model.feature_info.channels() == base.feature_info.channels()


@on_tiny
def test_features_equal_the_intermediates(name: str) -> None:
    model, x = create(name), images(2)
    for index in range(len(model.feature_info)):
        (found,) = create(name, features_only=True, out_indices=(index,))(x)
        (expected,) = model.forward_intermediates(x, [index], intermediates_only=True)
        assert torch.equal(found, expected)


@on_tiny
def test_backward_reaches_every_parameter(name: str) -> None:
    found = gradients(create(name).train(), images(8))
    assert all(gradient.isfinite().all() for gradient in found.values())
    still = [key for key, gradient in found.items() if not gradient.any()]
    dead = r"\.squeeze\.fc\.weight|\.attention\.weight"  # behind a ReLU that lets nothing through
    assert [key for key in still if not re.search(dead, key)] == []
    assert len(still) < len(found) / 10


@on_tiny
def test_gradients_are_finite_differences(name: str) -> None:
    model, x = create(name).double(), images(2).double()
    direction = {
        key: torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(len(key)))
        for key, p in model.named_parameters()
    }
    slope = sum(float((g * direction[key]).sum()) for key, g in gradients(model, x).items())

    def loss_at(step: float) -> float:
        moved = {key: p + step * direction[key] for key, p in model.named_parameters()}
        return float(torch.func.functional_call(model, moved, x).square().mean())

    step = 1e-9
    with torch.no_grad():
        assert slope == pytest.approx((loss_at(step) - loss_at(-step)) / (2 * step), rel=1e-3)


@on_tiny
def test_each_sample_is_by_itself(name: str) -> None:
    """A sample's output does not depend on the others of its batch."""
    model, x = create(name), images(4)
    with torch.no_grad():
        assert_close(torch.cat([model(a) for a in torch.split(x, 1)]), model(x), tolerance=1e-5)


@on_tiny
def test_channels_last(name: str) -> None:
    model, x = create(name), images(2)
    nhwc = copy.deepcopy(model).to(memory_format=torch.channels_last)
    with torch.no_grad():
        y = nhwc.forward_features(x.to(memory_format=torch.channels_last))
        assert_close(y, model.forward_features(x))
    assert y.is_contiguous(memory_format=torch.channels_last)


@on_tiny
def test_bfloat16_autocast(name: str) -> None:
    model, x = create(name), images(2)
    with torch.no_grad():
        expected = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(model(x).detach(), expected, tolerance=0.1)
        found = gradients(model.train(), x)
    assert all(gradient.isfinite().all() for gradient in found.values())


@on_tiny
def test_gradient_checkpointing_gives_the_same_gradients(name: str) -> None:
    model, x = create(name).train(), images(2)
    expected = gradients(model, x)
    model.set_grad_checkpointing()
    assert_all_close(gradients(model, x), expected, tolerance=1e-5)


@on_tiny
def test_copies_and_state_dicts_are_equal(name: str) -> None:
    model, x = create(name), images(2)
    state = model.state_dict()
    pointers = [t.data_ptr() for t in state.values()]
    assert len(pointers) == len(set(pointers)), "safetensors refuses aliases"
    loaded, file = timm.create_model(name).eval(), io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded.load_state_dict(torch.load(file))
    assigned = shapes_only(name)
    assigned.load_state_dict(state, assign=True)
    others = [loaded, assigned, copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    with torch.no_grad():
        expected = model(x)
        for other in others:
            assert torch.equal(other(x), expected)


@on_tiny
def test_a_copy_is_independent(name: str) -> None:
    model, x = create(name), images(2)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        before = copied(x)
        for p in model.parameters():
            p.mul_(1.01)
        assert torch.equal(copied(x), before)
        assert not torch.equal(model(x), before)


@on_tiny
def test_synchronised_batch_norms(name: str) -> None:
    model, x = create(name), images(2)
    other = convert_sync_batchnorm(copy.deepcopy(model))  # type: ignore[no-untyped-call]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in other.modules())
    with torch.no_grad():
        assert torch.equal(other(x), model(x))
        assert torch.equal(other.train()(x), model.train()(x))


@on_tiny
def test_classifier_can_be_replaced(name: str) -> None:
    model = create(name)
    assert model.get_classifier().out_features == 1000
    model.reset_classifier(5)
    assert model(images(1)).shape == (1, 5)


@on_tiny
@pytest.mark.parametrize("optimizer", ["adamw", "lamb", "muon"])
def test_an_optimizer_of_timm_takes_each_parameter_once(name: str, optimizer: str) -> None:
    model = create(name)
    made = create_optimizer_v2(model, opt=optimizer, lr=0.1, weight_decay=0.05, layer_decay=0.7)
    taken = [parameter for group in made.param_groups for parameter in group["params"]]
    assert len(taken) == len(set(taken)) == len(list(model.parameters()))


@on_tiny
def test_fx_features(name: str) -> None:
    model, x = create(name), images(2)
    nodes = [info["module"] for info in model.feature_info][1:]
    with torch.no_grad():
        found = create_feature_extractor(model, nodes).eval()(x)
        expected = model.forward_intermediates(x, intermediates_only=True)[1:]
    for a, b in zip(found.values(), expected, strict=True):
        assert_close(a, b, tolerance=1e-5)


@pytest.mark.integration
@on_tiny
def test_compiles_to_one_graph_for_a_batch_size(name: str) -> None:
    torch.compiler.reset()
    model, x = create(name), images(2)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert_close(compiled(x), model(x), tolerance=1e-5)


@pytest.mark.integration
def test_onnx_is_for_one_batch_size(tmp_path: Path) -> None:
    model, x = create("test_condconv_resnet"), images(3)
    args: Any = dict(dynamo=True, opset_version=18, verbose=False, f=tmp_path / "model.onnx")
    torch.onnx.export(torch.export.export(model, (x,)), (), **args)
    session = onnxruntime.InferenceSession(args["f"], providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        assert_close(torch.from_numpy(found), model(x))
    free = torch.export.export(model, (x,), dynamic_shapes=({0: Dim("batch")},))
    with pytest.raises(torch.onnx.errors.OnnxExporterError, match=r"aten\.conv2d"):
        torch.onnx.export(free, (), **args)


@pytest.mark.integration
@on_tiny
def test_exports_from_torch_with_the_batch_size_open(name: str) -> None:
    model = create(name)
    batch = {0: Dim("batch", min=2, max=8)}
    exported = torch.export.export(model, (images(3),), dynamic_shapes=(batch,)).module()
    with torch.no_grad():
        assert_close(exported(images(5)), model(images(5)))


@pytest.mark.parametrize("name", ["test_condconv_resnet", "test_kwhalf_resnet", "test_kw_resnet"])
def test_reset_head_leaves_dynamic_classifiers_as_they_are(name: str) -> None:
    made: Any = create_network(name, False, 10, {}, reset_head=True)
    expected: Any = timm.create_model(name, num_classes=10)
    assert type(made.get_classifier()) is type(expected.get_classifier())
    assert parameters(made) == parameters(expected)


@on_tiny
def test_a_schedule_is_part_of_the_state(name: str) -> None:
    model, x = create(name), images(2)
    layers = [module for module in model.modules() if isinstance(module, Annealed)]
    for layer in layers:
        layer.anneal(0.0)
        assert float(layer.annealed) == layer.start
    other = timm.create_model(name).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(other(x), model(x))
        for layer in layers:
            layer.anneal(2.0)
            assert float(layer.annealed) == layer.end
        if layers:
            assert not torch.equal(other(x), model(x))
