"""What a checkpoint says of its network is enough to build it again, whatever was done to it."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import timm
import torch
from timm.models import register_model
from torch import nn

from kdna_zoo.cli.app import main
from kdna_zoo.data import ImageData
from kdna_zoo.errors import UserError
from kdna_zoo.sharing import Share, SharingPlan, auto_plan, share_kernels
from kdna_zoo.training import ImageClassifier
from kdna_zoo.training.command import cli as command
from tests.training.support import fit

SHORT = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--data.batch_size=8")
BASE = "regnetx_002"
PLAN = SharingPlan((Share("s4.b2.conv1.conv", "s4.b3.conv1.conv"),))


@register_model
def test_shared_regnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A name of a user's own, made the way that timm shows."""
    network: nn.Module = timm.create_model(BASE, **{**kwargs, "pretrained": False})
    return share_kernels(network, PLAN)


test_shared_regnet.__test__ = False  # type: ignore[attr-defined]  # a network, as timm names those


def record_of(checkpoint: Path) -> dict[str, Any]:
    record: dict[str, Any] = torch.load(checkpoint, weights_only=True)["kdna_zoo"]
    return record


def assert_published_as_trained(checkpoint: Path, target: Path) -> None:
    """What timm loads from the published folder has the plan and the very weights."""
    assert main(["publish", str(checkpoint), "--to", str(target)]) == 0
    loaded = timm.create_model(f"local-dir:{target}", pretrained=True)
    assert loaded.sharing_plan == PLAN
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[f"model.{name}"]), name
    config = json.loads((target / "config.json").read_text())
    assert config["architecture"] == "any_kdna"
    assert config["model_args"]["base"] == BASE


def test_a_network_changed_by_share_kernels(tmp_path: Path) -> None:
    """As a program does it: the module's network is changed, then trained."""
    data = ImageData(train_split="train[:16]", val_split="test[:8]", input_size=(3, 32, 32))
    module = ImageClassifier(BASE, num_classes=10)
    assert (module.arch, module.arch_args) == (BASE, {})
    share_kernels(module.model, PLAN)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_steps=1, logger=False, enable_checkpointing=False, **quiet)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    record = record_of(tmp_path / "a.ckpt")
    assert record["arch"] == "any_kdna"
    assert record["arch_args"] == {"base": BASE, "plan": PLAN.to_dict()}
    assert json.loads(json.dumps(record)) == record, "plain JSON types"
    assert_published_as_trained(tmp_path / "a.ckpt", tmp_path / "published")


@pytest.mark.integration
def test_a_users_own_name_and_its_base_are_two_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = fit(tmp_path / "shared", *SHORT, "--model.arch=test_shared_regnet")
    fit(tmp_path / "base", *SHORT, f"--model.arch={BASE}")
    checkpoint = Path(str(shared.trainer.log_dir)) / "checkpoints" / "last.ckpt"
    assert record_of(checkpoint)["arch_args"] == {"base": BASE, "plan": PLAN.to_dict()}
    capsys.readouterr()
    assert main(["compare", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "any_kdna" in said
    assert "s4.b2.conv1.conv <- s4.b3.conv1.conv (r=4)" in said
    assert main(["compare", str(tmp_path), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert sorted(run["arch"] for run in runs) == ["any_kdna", BASE]
    assert_published_as_trained(checkpoint, tmp_path / "published")


@pytest.mark.integration
def test_any_network_by_the_command_line(tmp_path: Path) -> None:
    """Its plan is recorded as it was made, so that it stays when `auto_plan` changes."""
    options = ("--model.arch=any_kdna", f"--model.arch_args.base={BASE}")
    run = fit(tmp_path, *SHORT, *options)
    expected = auto_plan(timm.create_model(BASE, num_classes=10))
    assert run.model.arch_args == {"base": BASE, "plan": expected.to_dict()}
    checkpoint = Path(str(run.trainer.log_dir)) / "checkpoints" / "last.ckpt"
    assert main(["publish", str(checkpoint), "--to", str(tmp_path / "published")]) == 0
    loaded = timm.create_model(f"local-dir:{tmp_path / 'published'}", pretrained=True)
    assert loaded.sharing_plan == expected


@pytest.mark.parametrize("base", [None, "no_network", "resnet18.a1_in1k"])
def test_a_base_that_is_none(base: str | None) -> None:
    with pytest.raises(UserError, match="name it as the argument base"):
        timm.create_model("any_kdna", base=base)


def test_any_network_has_no_weights_by_itself() -> None:
    with pytest.raises(UserError, match="there are no weights of any_kdna"):
        timm.create_model("any_kdna", base=BASE, pretrained=True)


def test_load_from_checkpoint(trained: command.CLI, folder: Path, tmp_path: Path) -> None:
    checkpoint = folder / "checkpoints" / "last.ckpt"
    loaded = ImageClassifier.load_from_checkpoint(checkpoint)
    assert (loaded.arch, loaded.num_classes) == ("test_kdna_resnet", 10)
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    smooth = ImageClassifier.load_from_checkpoint(str(checkpoint), label_smoothing=0.5)
    assert smooth.objective._loss.smoothing == 0.5
    with pytest.raises(UserError, match="of another network than this run's resnet18"):
        ImageClassifier.load_from_checkpoint(checkpoint, arch="resnet18", arch_args={})
    with pytest.raises(UserError, match="no such checkpoint"):
        ImageClassifier.load_from_checkpoint(tmp_path / "nowhere.ckpt")
