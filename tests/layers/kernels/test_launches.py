"""How many launches a child adds to those of an ordinary layer, as docs/benchmarks.md has it."""

import copy

import pytest
import timm
import torch

from docs.launches import added_in_inference, added_in_training, counting, main, training_step

TINY = ["test_kdna_resnet", "test_kdna_mobilenetv2", "test_kdna_convnext"]


@pytest.mark.parametrize("name", TINY)
def test_a_child_adds_few_launches(name: str) -> None:
    assert added_in_training(name, kernels=True) <= 14
    assert added_in_training(name, kernels=False) >= 30
    assert added_in_inference(name, kernels=True) <= 4


@pytest.mark.integration
@pytest.mark.parametrize(("name", "kernels", "plain"), [
    ("kdna_resnet18", 13, 39), ("kdna_resnet50", 13, 39),
    ("kdna_mobilenetv2", 12, 33.3), ("kdna_convnext_t", 11, 32),
])  # fmt: skip
def test_the_named_networks(name: str, kernels: float, plain: float) -> None:
    assert added_in_training(name, kernels=True) == kernels
    assert added_in_training(name, kernels=False) == pytest.approx(plain, abs=0.01)
    assert added_in_inference(name, kernels=True) == 3


def test_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch is counted where it is made, and counting changes no number of the plain form."""
    model = timm.create_model("test_kdna_resnet")
    expected = copy.deepcopy(model)
    images = torch.randn(4, 3, 64, 64)
    with counting(kernels=False) as plain:
        training_step(model, images)()
    training_step(expected, images)()
    for a, b in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert not [name for name in plain if name.startswith("kernel ")]
    with counting(kernels=True) as counts:
        training_step(model, images)()
    ours = {name: n for name, n in counts.items() if name.startswith("kernel ")}
    assert len(ours) == 8
    assert len({*ours.values()}) == 1, "each once for each child"
    assert counts["convolution"] == plain["convolution"]


def test_a_profile_needs_a_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--profile"]) == 2
    assert "torch finds no CUDA device on this machine" in capsys.readouterr().err
