"""Contract: the forward and backward pass, in every mode a training script may choose."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.models.support import (
    assert_close,
    base_of,
    create,
    gradients,
    images,
    on_each_at_length,
    shapes_only,
)


@pytest.mark.parametrize("size", [224, 97])
def test_forward_is_finite_at_224_and_at_an_odd_size(model: nn.Module, size: int) -> None:
    with torch.no_grad():
        y = model(images(1, size))
    assert y.shape == (1, 1000)
    assert y.isfinite().all()


def test_backward_reaches_every_parameter(model: nn.Module) -> None:
    found = gradients(copy.deepcopy(model).train(), images(2))
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert [name for name, gradient in found.items() if not gradient.any()] == []


@on_each_at_length
def test_gradients_are_finite_differences(name: str) -> None:
    """Along one direction through all parameters: a parent's gradient counts all that use it."""
    model, x = create(name).double(), images(2).double()
    direction = {
        key: torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(len(key)))
        for key, p in model.named_parameters()
    }
    slope = sum(float((g * direction[key]).sum()) for key, g in gradients(model, x).items())

    def loss_at(step: float) -> float:
        moved = {key: p + step * direction[key] for key, p in model.named_parameters()}
        return float(torch.func.functional_call(model, moved, x).square().mean())

    step = 1e-9  # between the kinks of the activations
    with torch.no_grad():
        assert slope == pytest.approx((loss_at(step) - loss_at(-step)) / (2 * step), rel=1e-4)


def test_classifier_can_be_replaced_and_removed(model: nn.Module) -> None:
    changed = copy.deepcopy(model)
    with torch.no_grad():
        features = model.forward_features(images(2))
        pooled = model.forward_head(features, pre_logits=True)
        changed.reset_classifier(7)
        assert changed.forward_head(features).shape == (2, 7)
        changed.reset_classifier(0)
        assert torch.equal(changed.forward_head(features), pooled)
        changed.reset_classifier(0, global_pool="")
        unpooled = changed.forward_head(features)
    assert pooled.shape == (2, model.head_hidden_size)
    assert unpooled.shape == (2, model.num_features, 2, 2)


@on_each_at_length
@pytest.mark.parametrize(
    "args",
    [dict(num_classes=7), dict(num_classes=0), dict(num_classes=0, global_pool="")],
    ids=["7 classes", "pooled features", "unpooled features"],
)
def test_built_with_another_classifier_as_the_base(name: str, args: dict[str, object]) -> None:
    x = torch.empty(2, 3, 224, 224, device="meta")
    assert shapes_only(name, **args)(x).shape == base_of(name, **args)(x).shape


@on_each_at_length
@pytest.mark.parametrize("channels", [1, 4])
def test_input_channels(name: str, channels: int) -> None:
    with torch.no_grad():
        y = create(name, in_chans=channels)(images(2, channels=channels))
    assert y.shape == (2, 1000)
    assert y.isfinite().all()


@on_each_at_length
def test_dropout_and_drop_path_as_in_the_base(name: str) -> None:
    def drops(model: Any) -> Iterator[tuple[str, float]]:
        if hasattr(model, "drop_rate"):  # a functional dropout before the classifier
            yield "classifier", model.drop_rate
        for path, module in model.named_modules():
            if isinstance(module, nn.Dropout):
                yield path, module.p
            if isinstance(module, DropPath):
                yield path, module.drop_prob

    args = dict(drop_rate=0.5, drop_path_rate=0.2)
    expected = dict(drops(base_of(name, **args)))
    assert any(rate > 0 for rate in expected.values())
    assert dict(drops(shapes_only(name, **args))) == expected


@on_each_at_length
@pytest.mark.parametrize("args", [dict(drop_rate=0.5), dict(drop_path_rate=0.5)], ids=str)
def test_drops_at_random_in_training_alone(name: str, args: dict[str, float]) -> None:
    plain, model, x = create(name), create(name, **args), images(2)
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))
        model.train()
        outputs = [model(x) for _ in range(4)]  # one drop path may keep all, four hardly
    assert any(not torch.equal(y, outputs[0]) for y in outputs)


@on_each_at_length
def test_gradient_checkpointing_gives_the_same_gradients(name: str) -> None:
    model, x = create(name).train(), images(2)
    expected = gradients(model, x)
    model.set_grad_checkpointing()
    found = gradients(model, x)
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_channels_last_in_and_out(model: nn.Module) -> None:
    nhwc, x = copy.deepcopy(model).to(memory_format=torch.channels_last), images(2)
    with torch.no_grad():
        y = nhwc.forward_features(x.to(memory_format=torch.channels_last))
        assert_close(y, model.forward_features(x))
    assert y.is_contiguous(memory_format=torch.channels_last)


class CountCopies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the copies of tensors, as a change of memory format makes them."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket in (torch.ops.aten.clone, torch.ops.aten.copy_)
        return func(*args, **(kwargs or {}))


@on_each_at_length
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_nothing_is_copied_that_the_base_does_not_copy(
    name: str, layout: torch.memory_format
) -> None:
    def count(network: nn.Module) -> int:
        network.eval().to(memory_format=layout)
        x = images(2).to(memory_format=layout)
        copies: Any = CountCopies()  # type: ignore[no-untyped-call]
        with torch.no_grad(), copies:
            network(x)
        return int(copies.count)

    model: Any = create(name)
    assert count(model) == count(timm.create_model(model.base_arch, **model.base_args))


def test_bfloat16_autocast(model: nn.Module) -> None:
    x = images(2)
    with torch.no_grad():
        expected = model(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = model(x)
    assert y.dtype == torch.bfloat16
    assert_close(y, expected, tolerance=0.1)


@on_each_at_length
def test_bfloat16_autocast_trains_in_full_precision(name: str) -> None:
    model, x = create(name).train(), images(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(model, x)
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    assert all(gradient.isfinite().all() for gradient in found.values())


@on_each_at_length
def test_one_image_on_a_device_needs_a_layer_norm(name: str) -> None:
    published = create(name, attn_norm="batch").train()
    with pytest.raises(ValueError, match=r'at least two images.*attn_norm="layer"'):
        published(images(1))
    model, x = create(name, attn_norm="layer").train(), images(1)
    assert all(gradient.isfinite().all() for gradient in gradients(model, x).values())
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert model(x).isfinite().all()


@on_each_at_length
def test_one_image_trains_with_frozen_batch_norms(name: str) -> None:
    model = create(name, attn_norm="batch").train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert all(gradient.isfinite().all() for gradient in gradients(model, images(1)).values())
