"""A Hub, a real checkpoint, what was published of it, and users."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.double import WRITE, HubDouble
from tests.hub.user import REPOSITORY, User

ARCH, REPO = "test_kdna_resnet", "kdna-zoo/test_kdna_resnet.tiny"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `kdna-zoo fit` left after three steps on the embedded images."""
    from kdna_zoo.training.command import cli as command

    folder = tmp_path_factory.mktemp("fit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        command.run(
            [
                *("fit", "--config", "recipes/quickstart.yaml", "--model.arch", ARCH),
                *("--trainer.default_root_dir", str(folder)),
                *("--model.arch_args", "null", "--trainer.max_epochs", "1"),
                *("--trainer.limit_train_batches", "3", "--trainer.limit_val_batches", "2"),
            ]
        )
    return folder / "version_0" / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubDouble]:
    with HubDouble() as double:
        yield double


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of this package whose manifest may be written."""
    top = tmp_path_factory.mktemp("checkout")
    shutil.copytree(
        REPOSITORY / "kdna_zoo", top / "kdna_zoo", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(REPOSITORY / "recipes", top / "recipes")
    for file in ("pyproject.toml", "LICENSE"):
        shutil.copy(REPOSITORY / file, top)
    (top / "hub").mkdir()
    return top


@pytest.fixture(scope="session")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, published into a folder."""
    from kdna_zoo.release.checkpoint import read_checkpoint
    from kdna_zoo.release.folder import write_folder
    from kdna_zoo.release.options import Release

    target = tmp_path_factory.mktemp("published") / "test_kdna_resnet.tiny"
    return write_folder(read_checkpoint(checkpoint), target, about=Release(tag="tiny"))


@pytest.fixture(scope="module")
def publisher(hub: HubDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """One process for all tests of a module; each uses repositories of its own."""
    with User(hub, tmp_path_factory.mktemp("publisher"), WRITE) as user:
        yield user
