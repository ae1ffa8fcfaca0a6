"""CKA over a network's layers: what is compared, memory, and what cannot be compared."""

import copy
import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import kdna_zoo  # noqa: F401  registers the names
from kdna_zoo.analysis.cka import hsic
from kdna_zoo.analysis.cka.cka import Cka, measure_cka, read_cka
from kdna_zoo.analysis.cka.layer_outputs import choose_layers
from kdna_zoo.errors import UserError
from tests.analysis.cka.plain_cka import minibatch_cka


def network(name: str = "test_kdna_resnet") -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name)


def images(count: int = 14, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def outputs(model: nn.Module, layer: str, batch: Tensor) -> Tensor:
    """What a layer gives, by a hook of our own."""
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *a: kept.append(a[2]))
    with torch.no_grad():
        model.eval()(batch)
    handle.remove()
    return kept[0]


@pytest.mark.parametrize("name", ["test_kdna_resnet", "test_kdna_convnext", "test_vit"])
def test_each_cell_is_the_definition(name: str) -> None:
    model, batches = network(name), list(torch.split(images(14, 160 if "vit" in name else 32), 6))
    cka = measure_cka(model, batches)
    assert cka.images == 12, "six, six; two are too few"
    assert cka.batch_size == 6
    assert cka.is_of_one
    assert torch.allclose(cka.matrix, cka.matrix.T)
    assert torch.allclose(cka.matrix.diagonal(), torch.ones(len(cka.rows)).double())
    for i, j in ((0, 1), (2, -1)):
        layers = cka.rows[i], cka.rows[j]
        pairs = [tuple(outputs(model, layer, b) for layer in layers) for b in batches[:2]]
        assert float(cka.matrix[i, j]) == pytest.approx(minibatch_cka(pairs), abs=1e-6)


def test_two_networks_on_the_same_images() -> None:
    model, other = network("test_resnet"), network()
    batches = [(batch, torch.zeros(7)) for batch in torch.split(images(), 7)]
    cka = measure_cka(model, batches, ["conv1.0", "layer4.0.conv1"], other, names=("a", "b"))
    assert cka.networks == ("a", "b")
    assert cka.rows == ("conv1.0", "layer4.0.conv1")
    assert cka.columns == tuple(choose_layers(other))
    assert not cka.is_of_one
    pairs = [
        (outputs(model, "layer4.0.conv1", b), outputs(other, "layer4.1.conv1", b))
        for b, _ in batches
    ]
    cell = cka.matrix[1, cka.columns.index("layer4.1.conv1")]
    assert float(cell) == pytest.approx(minibatch_cka(pairs), abs=1e-6)
    again = measure_cka(model, batches, ["conv1.0"], copy.deepcopy(model), ["conv1.0"])
    assert float(again.matrix) == pytest.approx(1)


def test_the_network_is_left_as_it_was() -> None:
    model = network().train()
    model.get_submodule("layer3").eval()
    modes = [m.training for m in model.modules()]
    state = copy.deepcopy(model.state_dict())
    measure_cka(model, torch.split(images(), 7))
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())
    with pytest.raises(UserError):
        measure_cka(model, [torch.full((5, 3, 32, 32), torch.nan)])
    assert not any(m._forward_hooks for m in model.modules())
    assert [m.training for m in model.modules()] == modes


def test_nothing_of_a_batch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older images are gone, and what is summed up has the size of the matrix."""
    seen: list[weakref.ref[Tensor]] = []
    model = network()

    def batches() -> Iterator[Tensor]:
        for batch in torch.split(images(60), 5):
            clone = batch.clone()
            seen.append(weakref.ref(clone))
            yield clone
            del clone
            alive = sum(ref() is not None for ref in seen)
            assert alive <= 1, "older batches are gone"

    sums: list[hsic.HsicSums] = []
    add = hsic.HsicSums.add

    def spy(self: hsic.HsicSums, *args: Any) -> None:
        add(self, *args)
        sums.append(self)

    monkeypatch.setattr(hsic.HsicSums, "add", spy)
    layers = len(measure_cka(model, batches()).rows)
    held = [v.numel() for v in vars(sums[-1]).values() if isinstance(v, Tensor)]
    assert sorted(held) == [layers, layers, layers**2]
    assert len(sums) == 12


def test_layers_by_default_and_by_pattern() -> None:
    model = network()
    layers = choose_layers(model)
    assert "conv1" in layers
    assert "layer3.0.conv2" in layers, "a child"
    assert not any("channel_attn" in path for path in layers), "inside of an adapter"
    assert "fc" not in layers
    peer = choose_layers(network("test_odconv_resnet"))
    assert "layer3.0.conv2" in peer, "a dynamic convolution"
    assert not any("squeeze" in path for path in peer), "inside of its attention"
    assert "stages.2.blocks.1.mlp.fc1" in choose_layers(network("test_kdna_convnext"))
    assert choose_layers(model, ["layer4.*"]) == [p for p in layers if p.startswith("layer4.")]
    assert choose_layers(model, ["layer4.0", "conv1"]) == ["conv1", "layer4.0"], "any module"


def test_a_layer_that_runs_twice_or_never() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.idle = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
            self.two = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.conv(x), self.conv(x.flip(1))
            return self.two(torch.cat([first, second], dim=1))  # type: ignore[no-any-return]

    model = Twice()
    cka = measure_cka(model, torch.split(images(), 7), ["conv", "two"])
    assert float(cka.matrix[0, 1]) == pytest.approx(1), "both outputs count"
    assert measure_cka(model, torch.split(images(), 7)).rows == ("conv",), "an idle one is left out"
    with pytest.raises(UserError, match=r"layer 'idle' of Twice does not run in a forward pass"):
        measure_cka(model, torch.split(images(), 7), ["idle"])


def test_a_dead_layer_has_no_value() -> None:
    model = network()
    dead: Any = model.get_submodule("layer1.0.conv1")
    nn.init.zeros_(dead.weight)
    cka = measure_cka(model, torch.split(images(), 7))
    at = cka.rows.index("layer1.0.conv1")
    assert cka.matrix[at].isnan().all()
    assert cka.matrix[:at, :at].isfinite().all()
    assert cka.to_dict()["matrix"][at][0] is None
    again = Cka.from_dict(json.loads(json.dumps(cka.to_dict())))
    assert torch.equal(again.matrix.isnan(), cka.matrix.isnan())


def test_what_cannot_be_compared_is_said() -> None:
    model, batches = network(), torch.split(images(), 7)
    with pytest.raises(UserError, match="Sequential has no convolution and no child layer; name"):
        measure_cka(nn.Sequential(nn.Flatten(), nn.Linear(3, 3)), batches)
    with pytest.raises(UserError, match=r"no layer 'layer3\.0\.conv9' in ResNet; did you mean lay"):
        choose_layers(model, ["layer3.0.conv9"])
    with pytest.raises(UserError, match=r"no layer 'layer3\.0\.conv9' in ResNet"):
        measure_cka(model, batches, ["layer3.0.conv9"])
    with pytest.raises(
        UserError, match=r"no convolution fits 'stages\.\*' in ResNet; it has conv1"
    ):
        choose_layers(model, ["stages.*"])
    message = "needs 4 or more in a batch; the largest batch had "
    with pytest.raises(UserError, match=f"{message}1: give more images"):
        measure_cka(model, torch.split(images(1), 1))
    with pytest.raises(UserError, match=f"{message}3"):
        measure_cka(model, torch.split(images(9), 3))
    with pytest.raises(UserError, match=f"{message}0"):
        measure_cka(model, [])
    with pytest.raises(UserError, match=r"b cannot run on images of \(7, 3, 32, 32\): .*expected"):
        measure_cka(model, batches, None, nn.Sequential(nn.Conv2d(4, 4, 3)), names=("a", "b"))
    with pytest.raises(UserError, match="no layer tells one image from another"):
        measure_cka(model, [images(1).expand(6, -1, -1, -1)])
    with pytest.raises(UserError, match=r"'odd' of _Odd gives \(9,\) for 7 images: no tensor with"):
        measure_cka(_Odd(), batches, ["odd"])


class _Odd(nn.Module):
    """Its layer gives no tensor with the images in front."""

    def __init__(self) -> None:
        super().__init__()
        self.odd = nn.Flatten(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.odd(x[0, 0, :3, :3])  # type: ignore[no-any-return]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite(value: float) -> None:
    model = network()
    broken: Any = model.get_submodule("layer2.0.conv1")
    broken.weight.data[0, 0, 0, 0] = value
    with pytest.raises(
        UserError, match=r"layer 'layer2\.0\.conv1' of ResNet gives values that are"
    ):
        measure_cka(model, torch.split(images(), 7))


def written(tmp_path: Path, **changes: Any) -> Path:
    cka = Cka(("a", "a"), ("x", "y"), ("x", "y"), torch.eye(2).double(), 8, 4)
    file = tmp_path / "cka.json"
    file.write_text(json.dumps({**cka.to_dict(), "command": "kdna-zoo cka a", **changes}))
    return file


def test_json_there_and_back(tmp_path: Path) -> None:
    cka = read_cka(written(tmp_path))
    assert (cka.networks, cka.rows, cka.images, cka.batch_size) == (("a", "a"), ("x", "y"), 8, 4)
    assert torch.equal(cka.matrix, torch.eye(2).double())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, r"cka\.json is of version 2, and this kdna-zoo reads version 1: measure"),
        ({"version": None}, "is of version None"),
        ({"format": "other"}, r"is not what `kdna-zoo cka` writes"),
        ({"matrix": [[1.0]]}, r"cka\.json is incomplete or damaged: .*; measure again"),
        ({"matrix": [["one"] * 2] * 2}, "is incomplete or damaged: could not convert"),
        ({"networks": ["a"]}, "is incomplete or damaged"),
        ({"rows": None}, "is incomplete or damaged"),
    ],
)
def test_json_of_something_else(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_cka(written(tmp_path, **changes))


def test_no_json_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*cka\.json: No such file"):
        read_cka(tmp_path / "cka.json")
    (tmp_path / "cka.json").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"cka\.json is no JSON file"):
        read_cka(tmp_path / "cka.json")
    (tmp_path / "cka.json").write_text("[]")
    with pytest.raises(UserError, match="is not what"):
        read_cka(tmp_path / "cka.json")
