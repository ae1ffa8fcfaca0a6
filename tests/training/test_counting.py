"""What counts on the steps and images of an epoch, and what would change them under way."""

from pathlib import Path

import pytest

from kdna_zoo.errors import UserError
from tests.training.command.test_starts import make_pictures
from tests.training.support import fit

SHORT = ("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--data.batch_size=8")


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (
            ["GradientAccumulationScheduler", "--trainer.callbacks.scheduling={0: 2}"],
            "GradientAccumulationScheduler changes .* trainer.accumulate_grad_batches",
        ),
        (["BatchSizeFinder"], "BatchSizeFinder changes .* data.batch_size"),
    ],
)
def test_what_changes_the_steps_of_an_epoch(
    callback: list[str], message: str, tmp_path: Path
) -> None:
    name, *options = callback
    with pytest.raises(UserError, match=message):
        fit(tmp_path, *SHORT, f"--trainer.callbacks+={name}", *options)


def test_overfitting_a_sorted_folder_sees_all_classes(tmp_path: Path) -> None:
    """A few batches, of all classes, the same in each epoch."""
    pictures = make_pictures(tmp_path / "pictures", "ant", "bee", "cow")
    overfit = ("--trainer.overfit_batches=1", "--trainer.limit_val_batches=0")
    data = (f"--data.path={pictures}", "--data.batch_size=12")
    run = fit(tmp_path, *data, *overfit, "--trainer.max_epochs=2")
    assert run.trainer.global_step == 2
    loader = run.datamodule.train_dataloader()
    first, second = (next(iter(loader))[1].tolist() for _ in range(2))
    assert first == second
    assert set(first) == {0, 1, 2}
