"""Norms that are synchronised over devices keep what timm put into them."""

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

import kdna_zoo  # noqa: F401
from kdna_zoo.training.command import cli as command
from kdna_zoo.training.sync_norm import SyncNorms
from tests.training.gloo_norm import GlooNorms
from tests.training.support import TINY, fit

pytestmark = pytest.mark.integration

NETWORKS = ("test_kdna_mobilenetv2", "test_kdna_resnet")


def outputs(network: nn.Module) -> Any:
    return network.eval()(torch.linspace(-1, 1, 2 * 3 * 64 * 64).view(2, 3, 64, 64))


def trained(arch: str) -> nn.Module:
    """A network whose norms are not those of the start."""
    torch.manual_seed(0)
    network = timm.create_model(arch, num_classes=4)
    for _ in range(2):
        network.train()(torch.randn(8, 3, 64, 64))
    return network


@pytest.mark.parametrize("arch", NETWORKS)
def test_the_network_computes_what_it_did(arch: str) -> None:
    network = trained(arch)
    expected = outputs(network)
    names = [type(module) for module in network.modules()]
    holder, sync = nn.ModuleDict({"model": network}), SyncNorms()
    converted = sync.apply(holder)["model"]
    norms = [m for m in converted.modules() if isinstance(m, nn.SyncBatchNorm)]
    assert len(norms) == sum(issubclass(kind, nn.BatchNorm2d) for kind in names)
    assert torch.equal(outputs(converted), expected)
    parameter = next(norms[0].parameters())
    norms[0].register_buffer("running_mean", norms[0].running_mean + 1)  # as .to(device) would
    moved = outputs(converted)
    reverted = sync.revert(holder)["model"]
    assert [type(module) for module in reverted.modules()] == names
    assert torch.equal(outputs(reverted), moved)
    assert not torch.equal(moved, expected)
    assert any(parameter is other for other in reverted.parameters())


def test_torch_alone_would_drop_activations() -> None:
    """Why Lightning's own conversion is not used; goes when this does."""
    network = trained("test_kdna_mobilenetv2")
    converted = TorchSyncBatchNorm().apply(copy.deepcopy(network))
    assert not torch.allclose(outputs(converted), outputs(network), atol=1e-3)


def test_the_command_synchronises_so(tmp_path: Path) -> None:
    run = fit(tmp_path, "--trainer.sync_batchnorm=true", "--trainer.fast_dev_run=true")
    plain = fit(tmp_path, "--trainer.fast_dev_run=true")
    found = [command_.trainer._accelerator_connector._layer_sync for command_ in (run, plain)]
    assert isinstance(found[0], SyncNorms)
    assert found[1] is None


def test_a_users_own_synchronisation_wins(tmp_path: Path) -> None:
    own = "--trainer.plugins=tests.training.gloo_norm.GlooNorms"
    options = ("--trainer.sync_batchnorm=true", own, "--trainer.fast_dev_run=true")
    run = command.run(["fit", *TINY, f"--trainer.default_root_dir={tmp_path}", *options])
    assert isinstance(run.trainer._accelerator_connector._layer_sync, GlooNorms)
