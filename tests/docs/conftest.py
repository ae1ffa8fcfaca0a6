"""What the snippets of the pages find in their folder."""

from pathlib import Path

import pytest

from kdna_zoo import cli
from kdna_zoo.training.command import cli as command


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``published`` is a published network, as README's commands leave it."""
    folder = tmp_path_factory.mktemp("readme")
    run = command.run(
        [
            "fit",
            "--model.arch=test_kdna_resnet",
            "--data.input_size=[3,28,28]",
            f"--trainer.default_root_dir={folder}",
            "--trainer.limit_train_batches=2",
            "--trainer.limit_val_batches=2",
            "--trainer.max_epochs=1",
            "--trainer.enable_progress_bar=false",
        ]
    )
    checkpoint = f"{run.trainer.log_dir}/checkpoints/last.ckpt"
    assert cli.main(["publish", checkpoint, "--to", str(folder / "published")]) == 0
    return folder
