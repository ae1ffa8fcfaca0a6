"""KernelWarehouse against plain loops, and where each piece of a kernel starts."""

import copy

import pytest
import torch
from torch import Tensor, nn

from kdna_zoo.peers import (
    KernelWarehouse,
    KWConv2d,
    KWLinear,
    PeerError,
    WarehouseConfig,
    make_dynamic,
    per_sample,
)
from tests.peers import reference as ref
from tests.peers.support import assert_same, conv, each_geometry, images, moved


def stage(budget: float = 1) -> nn.Sequential:
    """A stage of two layers, 4 to 8 and 8 to 8 channels: cells of 8 x 4."""
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 1, bias=False))
    return make_dynamic(
        model, KernelWarehouse(lambda _: WarehouseConfig("one", budget)), ["0", "1"]
    )


def kernel(layer: KWConv2d, x: Tensor, blend: float) -> Tensor:
    """The kernel of one sample (I, H, W), piece by piece."""
    (warehouse,) = layer._warehouse
    (cell_out, cell_in), cells = warehouse.shape, warehouse.cells.detach()
    h = ref.batch_norm(layer.squeeze.norm, ref.linear(layer.squeeze.fc, ref.pooled(x)))
    z = ref.linear(layer.attention, [max(v, 0.0) for v in h])
    result = torch.zeros(layer.geometry.shape, dtype=torch.float64)
    out, channels, height, width = result.shape
    piece = 0
    for position in range(height * width):
        for o in range(0, out, cell_out):
            for i in range(0, channels, cell_in):
                own = z[piece * (len(cells) + 1) : (piece + 1) * (len(cells) + 1)]
                total = sum(abs(v) for v in own) + 1e-3
                shares = [(1 - blend) * v / total for v in own]
                shares[int(layer.assigned[piece])] += blend
                mixed = ref.mixture(shares[:-1], cells).view(cell_out, cell_in)
                place = result[o : o + cell_out, i : i + cell_in]
                place[:, :, position // width, position % width] = mixed
                piece += 1
    assert piece == len(layer.assigned)
    return result


@each_geometry
@pytest.mark.parametrize("budget", [0.5, 1, 2])
@pytest.mark.parametrize(
    ("size", "few"), [(1, 0.01), (5, 0.01), (5, 100)], ids=["one pixel", "few", "many"]
)
def test_is_its_plain_loops(
    geometry: dict[str, int], budget: float, size: int, few: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_sample, "FEW", few)
    ratio = min(budget, 1)
    model = nn.Sequential(conv(geometry))
    make_dynamic(model, KernelWarehouse(lambda _: WarehouseConfig("", budget, ratio, ratio)), ["0"])
    (layer,) = moved(model)
    layer.anneal(0.75)
    x = images(size=size)
    assert_same(layer(x), ref.each_sample(layer, x, lambda image: kernel(layer, image, 0.25)))


def test_layers_of_a_stage_share_their_cells() -> None:
    model = moved(stage())
    for layer in model:
        layer.anneal(0.5)
    x = images(channels=4)
    middle = ref.each_sample(model[0], x, lambda a: kernel(model[0], a, 0.5))
    assert_same(model(x), ref.each_sample(model[1], middle, lambda a: kernel(model[1], a, 0.5)))
    names = [name for name, _ in model.named_parameters() if "warehouse" in name]
    assert names == ["0.warehouse.cells"], "one owner, and no alias"
    assert model[0].warehouse.shape == (8, 4)
    assert len(model[0].warehouse.cells) == 9 + 2


def test_a_copy_draws_on_its_own_warehouse() -> None:
    model = stage()
    copied = copy.deepcopy(model)
    assert copied[1]._warehouse[0] is copied[0].warehouse
    assert copied[0].warehouse is not model[0].warehouse


def test_at_the_start_each_piece_is_a_cell_of_its_own() -> None:
    """So the network starts as one with ordinary kernels, with the variance of its fan-out."""
    model = make_dynamic(nn.Sequential(nn.Conv2d(64, 64, 3)), KernelWarehouse(), ["0"])
    (layer,) = model.eval()
    layer.anneal(0.0)
    assert layer.assigned.tolist() == list(range(9))
    assert float(layer.warehouse.cells.detach().std()) == pytest.approx(
        (2 / (64 * 9)) ** 0.5, rel=0.05
    )
    x = torch.randn(2, 64, 5, 5)
    weight = layer.warehouse.cells.view(9, 64, 64).permute(1, 2, 0).reshape(64, 64, 3, 3)
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, weight, layer.bias))


def test_pieces_without_a_cell_start_at_zero() -> None:
    """Half the cells: of two pieces one has a cell, once the first and once the second."""
    first, second = stage(budget=0.5)
    assert len(first.warehouse.cells) == 5
    assert first.assigned.tolist() == [0, 5, 5, 1, 2, 5, 5, 3, 4]
    assert second.assigned.tolist() == [5, 5]
    first, second = stage(budget=2)
    assert first.assigned.tolist() == list(range(0, 18, 2))
    assert second.assigned.tolist() == [18, 20]


@pytest.mark.parametrize("budget", [0, -1, 0.75])
def test_a_budget_that_gives_no_place(budget: float) -> None:
    with pytest.raises(
        PeerError,
        match="a whole number of 1 or more, or one over a whole number, got WarehouseConfig",
    ):
        stage(budget=budget)


def test_a_linear_layer_is_a_1x1_convolution() -> None:
    model = nn.Sequential(nn.Linear(8, 6))
    make_dynamic(model, KernelWarehouse(lambda _: WarehouseConfig("", cell_in=0.5)), ["0"])
    (layer,) = moved(model)
    assert isinstance(layer, KWLinear)
    layer.anneal(0.75)
    x = torch.randn(3, 8, dtype=torch.float64)
    maps = x[:, :, None, None]
    expected = ref.each_sample(layer, maps, lambda a: kernel(layer, a, 0.25))
    assert_same(layer(x), expected.flatten(1))


@pytest.mark.parametrize("budget", [0.25, 0.5, 1, 4])
def test_every_cell_has_a_start(budget: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that no piece starts with are mixed in later."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, **k: empty(*shape, **k).fill_(torch.nan))
    convs = nn.Sequential(*[nn.Conv2d(8, 8, 3, padding=1) for _ in range(6)])
    paths = [str(i) for i in range(6)]
    make_dynamic(convs, KernelWarehouse(lambda _: WarehouseConfig("", budget)), paths)
    assert convs[0].warehouse.cells.isfinite().all()


@pytest.mark.parametrize("budget", [1.5, 0.4, 0, -1])
def test_a_budget_that_is_none(budget: float) -> None:
    with pytest.raises(PeerError, match="whole number of 1 or more, or one over a whole number"):
        make_dynamic(
            nn.Sequential(nn.Conv2d(8, 8, 3)),
            KernelWarehouse(lambda _: WarehouseConfig("", budget)),
            ["0"],
        )
