"""Short runs of a tiny network on the embedded images."""

from pathlib import Path

from kdna_zoo.training.command import cli as command

TINY = (
    "--model.arch=test_kdna_resnet",
    "--data.input_size=[3,28,28]",
    "--trainer.accelerator=cpu",
    "--trainer.logger=null",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)


def fit(folder: Path, *more: str) -> command.CLI:
    return command.run(
        ["fit", *TINY, f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=1", *more]
    )


def top1(run: command.CLI) -> float:
    return float(run.trainer.callback_metrics["val/top1"])
