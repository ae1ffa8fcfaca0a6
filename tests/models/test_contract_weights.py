"""Contract: weights that come from a file, are copied, averaged, converted or moved."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import convert_sync_batchnorm, freeze_batch_norm_2d
from timm.models import adapt_input_conv
from timm.utils import ModelEmaV3
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

from tests.models.support import (
    assert_close,
    assert_tied,
    children,
    create,
    gradients,
    images,
    on_each_at_length,
    shapes_only,
)


def perturb(model: nn.Module, amount: float = 0.01) -> None:
    for p in model.parameters():
        p.data.mul_(1 + amount)


@on_each_at_length
@pytest.mark.parametrize("channels", [1, 4])
def test_pretrained_weights_adapt_to_other_channels_and_classes(
    name: str, channels: int, tmp_path: Path
) -> None:
    saved = create(name)
    save_file(saved.state_dict(), tmp_path / "model.safetensors")
    model = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay=dict(file=str(tmp_path / "model.safetensors")),
        in_chans=channels,
        num_classes=7,
    )
    first = f"{model.pretrained_cfg['first_conv']}.weight"
    classifier = model.pretrained_cfg["classifier"]
    adapted = dict(saved.state_dict())
    adapted[first] = adapt_input_conv(channels, adapted[first])
    for key, value in model.state_dict().items():
        if not key.startswith(classifier):
            assert torch.equal(value, adapted[key]), key
    assert model.get_classifier().out_features == 7
    assert model(images(2, channels=channels)).shape == (2, 7)


@on_each_at_length
@pytest.mark.parametrize("channels", [1, 4])
def test_first_convolution_adapts_as_in_the_base(name: str, channels: int, tmp_path: Path) -> None:
    model: Any = create(name)
    base = timm.create_model(model.base_arch, **model.base_args)
    first = f"{model.pretrained_cfg['first_conv']}.weight"
    base.load_state_dict({first: model.state_dict()[first]}, strict=False)
    torch.save(base.state_dict(), tmp_path / "base.pth")
    torch.save(model.state_dict(), tmp_path / "model.pth")

    def adapted(arch: str, file: str, **args: Any) -> torch.Tensor:
        overlay = dict(file=str(tmp_path / file))
        args["in_chans"] = channels
        network = timm.create_model(arch, pretrained=True, pretrained_cfg_overlay=overlay, **args)
        return cast("torch.Tensor", network.state_dict()[first])

    expected = adapted(model.base_arch, "base.pth", **model.base_args)
    assert expected.shape[1] == channels
    assert torch.equal(adapted(name, "model.pth"), expected)


@on_each_at_length
def test_state_dict_round_trip(name: str) -> None:
    model, other = create(name), timm.create_model(name).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(other(images(1)), model(images(1)))


def test_built_on_the_meta_device_and_assigned(model: nn.Module) -> None:
    other = shapes_only(model.pretrained_cfg["architecture"])
    assert all(tensor.is_meta for tensor in other.state_dict().values())
    state = model.state_dict()
    other.load_state_dict(state, assign=True)
    assert all(
        child.parent.weight.data_ptr() in pointers(state) for child in children(other).values()
    )
    with torch.no_grad():
        assert torch.equal(other(images(1)), model(images(1)))


def test_built_on_the_meta_device_and_moved_empty(model: nn.Module) -> None:
    other = shapes_only(model.pretrained_cfg["architecture"]).to_empty(device="cpu")
    assert_tied(other)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(other(images(1)), model(images(1)))


def pointers(state: dict[str, torch.Tensor]) -> set[int]:
    return {tensor.data_ptr() for tensor in state.values()}


def saved_and_loaded(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return cast("nn.Module", torch.load(file, weights_only=False))


@pytest.mark.parametrize(
    "copier",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), saved_and_loaded],
    ids=["deepcopy", "pickle", "torch.save"],
)
def test_copies_are_equal_and_independent(
    model: nn.Module, copier: Callable[[nn.Module], Any]
) -> None:
    copied, x = copier(model), images(1)
    assert_tied(copied)
    assert not pointers(copied.state_dict()) & pointers(model.state_dict())
    assert copied.sharing_plan == model.sharing_plan
    with torch.no_grad():
        assert torch.equal(copied(x), model(x))


@on_each_at_length
def test_a_copy_follows_its_own_parents(name: str) -> None:
    model, x = create(name), images(2)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        before = copied(x)
        perturb(model)
        assert torch.equal(copied(x), before)
        perturb(copied)
        assert torch.equal(copied(x), model(x))


@on_each_at_length
def test_moving_average_follows_the_parents(name: str) -> None:
    model, halfway, x = create(name), create(name), images(2)
    average = ModelEmaV3(model, decay=0.5)
    assert_tied(average.module)
    perturb(model, 0.02)
    average.update(model)
    perturb(halfway, 0.01)
    with torch.no_grad():
        assert_close(average(x), halfway(x), tolerance=1e-4)


@on_each_at_length
def test_average_of_decay_zero_is_the_model(name: str) -> None:
    model, x = create(name), images(2)
    average = ModelEmaV3(model, decay=0.0)
    perturb(model)
    average.update(model)
    with torch.no_grad():
        assert torch.equal(average(x), model(x))


@on_each_at_length
def test_synchronised_batch_norms(name: str) -> None:
    """On a CPU they cannot synchronise, but they convert, run and train as batch norms do."""
    model, x = create(name, attn_norm="batch"), images(2)
    synchronised = convert_sync_batchnorm(copy.deepcopy(model))  # type: ignore[no-untyped-call]
    assert_tied(synchronised)
    for child in children(synchronised).values():
        assert isinstance(child.channel_attn.norm, nn.SyncBatchNorm)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in synchronised.modules())
    with torch.no_grad():
        assert torch.equal(synchronised(x), model(x))
        assert torch.equal(synchronised.train()(x), model.train()(x))


@on_each_at_length
def test_frozen_batch_norms(name: str) -> None:
    model, x = create(name, attn_norm="batch"), images(2)
    frozen = freeze_batch_norm_2d(copy.deepcopy(model))  # type: ignore[no-untyped-call]
    assert_tied(frozen)
    for child in children(frozen).values():
        assert isinstance(child.channel_attn.norm, FrozenBatchNorm2d)
    with torch.no_grad():
        expected = model(x)
        assert_close(frozen(x), expected, tolerance=1e-5)
        assert_close(frozen.train()(x), expected, tolerance=1e-5)
    assert gradients(frozen, images(1))  # one image needs no statistics
