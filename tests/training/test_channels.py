"""Grey images: the network, the data and what they are normalised by agree without being told."""

from pathlib import Path

import pytest
import timm
import torch

from kdna_zoo.cli.app import main
from kdna_zoo.errors import UserError
from tests.training.support import TINY, fit

SHORT = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--data.batch_size=8")
GREY = "--data.input_size=[1,28,28]"
ONE = "--model.arch_args.in_chans=1"
THREE_MEANS = ("--data.mean=[0.2, 0.3, 0.4]", "--data.std=[0.1, 0.2, 0.3]")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "mean"),
    [
        (["--data.input_size=null", ONE], 0.449),
        ([GREY], 0.449),
        ([GREY, ONE, "--data.mean=[0.5]"], 0.5),
        ([GREY, *THREE_MEANS], 0.3),
    ],
    ids=["in_chans_alone", "input_size_alone", "both", "means_of_three"],
)
def test_grey_just_works(options: list[str], mean: float, tmp_path: Path) -> None:
    run = fit(tmp_path, *SHORT, *options)
    assert run.model.arch_args["in_chans"] == 1
    assert run.model.model.conv1.in_channels == 1
    config = run.datamodule.data_config
    assert config["input_size"][0] == 1
    assert config["mean"] == pytest.approx([mean], abs=1e-3)
    assert len(config["std"]) == 1
    images, _ = next(iter(run.datamodule.val_dataloader()))
    assert images.shape[1] == 1


@pytest.mark.integration
def test_what_was_trained_on_grey_images_goes_on(tmp_path: Path) -> None:
    """Evaluated, published and loaded back, with all three channels' mean in its own."""
    run = fit(tmp_path, *SHORT, GREY)
    checkpoint = Path(str(run.trainer.log_dir)) / "checkpoints" / "last.ckpt"
    assert main(["test", *TINY, *SHORT, GREY, f"--ckpt_path={checkpoint}"]) == 0
    target = tmp_path / "published"
    assert main(["publish", str(checkpoint), "--to", str(target)]) == 0
    network = timm.create_model(f"local-dir:{target}", pretrained=True)
    assert network.pretrained_cfg["mean"] == pytest.approx((0.449,), abs=1e-3)
    assert network.eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    back = ["validate", f"--model.arch=local-dir:{target}", "--model.pretrained=true"]
    assert main([*back, "--trainer.accelerator=cpu", "--trainer.limit_val_batches=1"]) == 0


@pytest.mark.integration
def test_a_grey_student_of_a_coloured_teacher(tmp_path: Path) -> None:
    teacher = "--model.distillation.teacher=kdna_mobilenetv2_050.fmnist"
    run = fit(tmp_path, *SHORT, GREY, teacher)
    assert torch.isfinite(run.trainer.callback_metrics["train/loss"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.input_size=[3,28,28]", ONE], "takes 1 channel, and data.input_size gives 3"),
        ([GREY, "--model.arch_args.in_chans=3"], "takes 3 channels, and data.input_size gives 1"),
        ([GREY, "--data.mean=[0.5,0.5]"], "one value for each channel, or one for all"),
        (["--data.input_size=null", "--model.arch_args.in_chans=4"], "3 channels .RGB. or 1"),
    ],
)
def test_channels_that_contradict_each_other(
    options: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        fit(tmp_path, *SHORT, *options)
