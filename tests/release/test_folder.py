import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.data.config import resolve_model_data_config

from kdna_zoo.errors import RunError, UserError
from kdna_zoo.records.record import parse_record
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.folder import FILES, OPTIONAL, write_folder
from kdna_zoo.release.options import Release

from .support import ARCH, LABELS, SIZE, contents, logits, make_record

WithRecord = Callable[..., TrainedModel]

OF_A_RUN = set(FILES) - {"conversion.png"}


@pytest.fixture(scope="module")
def published(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(trained, tmp_path_factory.mktemp("published") / "model")


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def trained_as(arch: str, **arguments: Any) -> TrainedModel:
    """A fresh network of another architecture, as if it had been trained."""
    model = timm.create_model(arch, num_classes=len(LABELS), **arguments).eval()
    return TrainedModel(model, parse_record(make_record(arch=arch)), "raw", averaged=False)


def test_files(published: Path) -> None:
    assert sorted(path.name for path in published.iterdir()) == sorted(OF_A_RUN)


def test_timm_loads_identical_logits(published: Path, trained: TrainedModel) -> None:
    reloaded = timm.create_model(f"local-dir:{published}", pretrained=True)
    assert torch.equal(logits(reloaded), logits(trained.model))


def test_config(published: Path) -> None:
    config = config_of(published)
    assert config["architecture"] == ARCH
    assert config["num_classes"] == len(LABELS)
    assert config["label_names"] == LABELS
    assert config["pretrained_cfg"]["tag"] == "fashion_mnist_sample"
    assert config["pretrained_cfg"]["license"] == "apache-2.0"


def test_timm_resolves_the_preprocessing_of_training(published: Path) -> None:
    reloaded = timm.create_model(f"local-dir:{published}", pretrained=True)
    resolved = resolve_model_data_config(reloaded)  # type: ignore[no-untyped-call]
    assert resolved["input_size"] == (3, SIZE, SIZE)
    assert {key: resolved[key] for key in ("interpolation", "crop_pct", "crop_mode")} == {
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "center",
    }
    assert list(resolved["mean"]) == [0.286] * 3
    assert list(resolved["std"]) == [0.353] * 3


def test_recipe_and_metrics(published: Path) -> None:
    record = make_record()
    assert (published / "recipe.yaml").read_text() == record["run"]["recipe"]
    metrics = json.loads((published / "metrics.json").read_text())
    assert metrics["metrics"] == record["metrics"]
    assert metrics["run"]["seed"] == 0
    assert metrics["weights"] == "raw"


def test_nothing_of_the_trainers_machine_is_published(published: Path) -> None:
    for name in ("README.md", "config.json", "metrics.json"):
        assert "/home/someone" not in (published / name).read_text()


def test_others_may_read_each_file(published: Path) -> None:
    modes = {path.stat().st_mode for path in published.iterdir()}
    assert len(modes) == 1
    umask = os.umask(0)
    os.umask(umask)
    assert modes.pop() & 0o777 == 0o666 & ~umask


def test_nothing_of_weights_that_others_published(tmp_path: Path) -> None:
    """timm's resnet10t has a tag, a licence, an origin and a test size of its own."""
    source = timm.get_pretrained_cfg("resnet10t")
    assert source is not None
    assert source.tag
    assert source.origin_url
    assert source.test_input_size
    folder = write_folder(trained_as("resnet10t"), tmp_path / "x", about=Release(license="MIT"))
    config = config_of(folder)["pretrained_cfg"]
    assert config["tag"] == "fashion_mnist_sample"
    assert config["license"] == "mit"
    assert not {"origin_url", "test_input_size", "test_crop_pct", "url", "hf_hub_id"} & set(config)


def test_arguments_of_the_architecture_come_back(tmp_path: Path) -> None:
    trained = trained_as(ARCH, global_pool="max")
    folder = write_folder(trained, tmp_path / "x")
    assert config_of(folder)["model_args"]["global_pool"] == "max"
    reloaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert torch.equal(logits(reloaded), logits(trained.model))


def test_channels_last_network(tmp_path: Path) -> None:
    trained = trained_as(ARCH)
    before = {key: value.clone() for key, value in trained.model.state_dict().items()}
    trained.model.to(memory_format=torch.channels_last)
    folder = write_folder(trained, tmp_path / "x")
    weights = load_file(folder / "model.safetensors")
    assert weights.keys() == before.keys()
    assert all(torch.equal(weights[key], before[key]) for key in before)
    assert trained.model.get_parameter("layer1.0.conv1.weight").is_contiguous(
        memory_format=torch.channels_last
    )


def test_network_that_diverged(tmp_path: Path) -> None:
    trained = trained_as(ARCH)
    torch.nn.init.constant_(trained.model.get_parameter("fc.bias"), float("nan"))
    with pytest.raises(
        UserError, match=r"NaN or infinity in 'fc.bias': its training.*Publish an earlier"
    ):
        write_folder(trained, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_network_that_timm_cannot_rebuild(tmp_path: Path) -> None:
    """A change that neither the weights nor the arguments hold is caught before publishing."""
    trained = trained_as(ARCH)
    batch_norm = trained.model.get_submodule("bn1")
    assert isinstance(batch_norm, torch.nn.BatchNorm2d)
    batch_norm.eps = 0.5
    with pytest.raises(RunError, match=r"nothing was published: .* gives other logits"):
        write_folder(trained, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_preprocessing_that_timm_resolves_otherwise(
    with_record: WithRecord, tmp_path: Path
) -> None:
    odd = {**make_record()["data_config"], "mean": [0.5]}  # timm makes it one for each channel
    with pytest.raises(RunError, match=r"nothing was published: timm resolves mean to"):
        write_folder(with_record(data_config=odd), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_run_without_a_recipe(with_record: WithRecord, tmp_path: Path) -> None:
    trained = with_record(run={**make_record()["run"], "recipe": None})
    folder = write_folder(trained, tmp_path / "x")
    assert contents(folder).keys() == set(FILES) - {*OPTIONAL}
    write_folder(trained, folder, overwrite=True)


def test_empty_folder_and_new_parents(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert contents(write_folder(trained, tmp_path / "empty")).keys() == OF_A_RUN
    assert contents(write_folder(trained, tmp_path / "a" / "b")).keys() == OF_A_RUN


def test_relative_path_and_link(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("real").mkdir()
    Path("link").symlink_to("real")
    assert write_folder(trained, "link") == tmp_path / "real"
    assert Path("link").is_symlink()


def test_folder_that_is_not_empty(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty: it holds notes.txt\..*--overwrite"):
        write_folder(trained, tmp_path)
    assert contents(tmp_path) == {"notes.txt": b"mine"}
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}*"))


def test_overwrite_replaces_a_published_folder(
    trained: TrainedModel, with_record: WithRecord, tmp_path: Path
) -> None:
    folder = write_folder(trained, tmp_path / "x")
    with pytest.raises(UserError, match=r"is not empty: it holds LICENSE, README.md, config.json"):
        write_folder(trained, folder)
    write_folder(with_record(label_names=["a", "b", "c"]), folder, overwrite=True)
    assert config_of(folder)["label_names"] == ["a", "b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_overwrite_leaves_other_folders_alone(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"no published folder \(it has no config.json, but thesis"):
        write_folder(trained, tmp_path, overwrite=True)
    assert contents(tmp_path) == {"thesis.tex": b"mine"}


def test_overwrite_loses_nothing_that_was_added(trained: TrainedModel, tmp_path: Path) -> None:
    folder = write_folder(trained, tmp_path / "x")
    (folder / "notes.txt").write_text("mine")
    (folder / ".git").mkdir()
    with pytest.raises(UserError, match=r"also holds .git, notes.txt, which publishing did not"):
        write_folder(trained, folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_target_is_a_file(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(UserError, match=r"x is a file. Give a folder that is absent or empty"):
        write_folder(trained, tmp_path / "x", overwrite=True)
    assert (tmp_path / "x").read_text() == "mine"


def test_target_is_the_current_folder(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"is or holds the folder you are in"):
        write_folder(trained, ".")


def test_parent_is_a_file(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(UserError, match=r"cannot write .*Not a directory|cannot write .*exists"):
        write_folder(trained, tmp_path / "x" / "y")


@contextmanager
def small_files_only() -> Iterator[None]:
    """Lets no file grow past 20 kB, as a full disk would not.

    Around the one call only: the log that pytest itself writes to may be longer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_for_the_weights(trained: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*File too large"), small_files_only():
        write_folder(trained, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_odd_licence(trained: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'Apache 2.0' is no licence identifier.*apache-2.0"):
        write_folder(trained, tmp_path / "x", about=Release(license="Apache 2.0"))
    assert list(tmp_path.iterdir()) == []
