"""Streams from the Hub: the revision asked for, and what happens when the Hub goes away."""

from pathlib import Path
from typing import Any

import datasets
import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from kdna_zoo.cli.app import main
from kdna_zoo.data import ImageData
from kdna_zoo.data.stream import StreamOptions
from kdna_zoo.errors import RunError, UserError
from tests.data.conftest import set_offline, write_parquet
from tests.hub.double import HubDouble
from tests.training.support import TINY

pytestmark = pytest.mark.integration

STREAM: dict[str, Any] = {"streaming": True, "input_size": (3, 8, 8), "batch_size": 2}
FRONT = """---
dataset_info:
  features:
  - {name: image, dtype: image}
  - {name: label, dtype: {class_label: {names: {"0": cat, "1": dog}}}}
  splits:
  - {name: train, num_examples: 6}
---
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STREAMING_READ_RETRY_INTERVAL", "SLEEP_TIME_ON_THREADS_SHUTDOWN"):
        monkeypatch.setattr(datasets.config, name, 0)
    monkeypatch.setattr(datasets.config, "STREAMING_READ_SERVER_UNAVAILABLE_RETRY_INTERVAL", 0)
    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 2)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


def publish(hub: HubDouble, folder: Path, tag: str, labels: list[int], front: str = FRONT) -> str:
    for file in range(0, len(labels), 2):
        write_parquet(folder / tag / f"train-{file:05}.parquet", labels[file : file + 2])
    (folder / tag / "README.md").write_text(front)
    return hub.commit("datasets/someone/pets", folder / tag, tag, "main")


def labels_of(data: ImageData) -> list[int]:
    return sorted(int(label) for _, labels in data.train_dataloader() for label in labels)


def test_the_revision_asked_for_is_streamed(tmp_path: Path, hub: HubDouble) -> None:
    first = publish(hub, tmp_path, "v1", [0, 1, 0, 1, 0, 1])
    second = publish(hub, tmp_path, "v2", [1, 1, 1, 1, 1, 1])
    for tag, sha, labels in (("v1", first, 3 * [0] + 3 * [1]), ("v2", second, 6 * [1])):
        data = ImageData("someone/pets", revision=tag, **STREAM)
        assert data.label_names == ["cat", "dog"]
        assert labels_of(data) == labels
        described = data.describe()
        assert (described["hub_id"], described["revision"]) == ("someone/pets", sha)
        assert described["train"] == {"split": "train", "images": 6}
    assert not list((tmp_path / "hub").rglob("*.parquet")), "nothing was downloaded"


def test_offline_there_is_no_stream(hub: HubDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    set_offline(monkeypatch, True)
    with pytest.raises(
        UserError, match=r"streaming reads .*someone/pets' from the Hub, and HF_HUB"
    ):
        ImageData("someone/pets", **STREAM).prepare_data()


def test_the_number_of_images_must_be_known(tmp_path: Path, hub: HubDouble) -> None:
    publish(hub, tmp_path, "v1", [0, 1, 0, 1, 0, 1], front="")
    with pytest.raises(UserError, match=r"No file says how many .* give stream\.images_per_epoch"):
        ImageData("someone/pets", **STREAM).train_dataloader()
    data = ImageData("someone/pets", **STREAM, stream=StreamOptions(images_per_epoch=4))
    assert data.train_batches == 2
    assert len(labels_of(data)) == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_the_hub_goes_away_in_the_middle_of_an_epoch(
    tmp_path: Path, hub: HubDouble, workers: int
) -> None:
    publish(hub, tmp_path, "v1", [0, 1] * 30, front=FRONT.replace("6", "60"))
    data = ImageData(
        "someone/pets", **STREAM, num_workers=workers, stream=StreamOptions(shuffle_buffer=1)
    )
    loader = data.train_dataloader()
    batches = iter(loader)
    next(batches)
    hub.down = True
    asked = len(hub.requests)
    with pytest.raises(
        RunError, match=r"^The stream of split 'train' .* broke off, as worker 0 of"
    ):
        for _ in batches:
            pass
    assert len(hub.requests) > asked + 1, "it was tried more than once"
    hub.down = False
    assert len(labels_of(data)) == 60


class HubGoes(Callback):
    """Take the Hub away after some steps of a run."""

    hub: HubDouble

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.hub.down = trainer.global_step >= self.steps


def test_a_run_goes_on_when_the_hub_is_back(
    tmp_path: Path, hub: HubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(hub, tmp_path, "v1", [0, 1] * 30, front=FRONT.replace("6", "60"))

    def line(folder: str) -> list[str]:
        return [
            *("fit", *TINY, f"--trainer.default_root_dir={tmp_path / folder}"),
            *("--trainer.max_epochs=1", "--trainer.limit_val_batches=0", "--data.streaming=true"),
            *("--data.path=someone/pets", "--data.batch_size=4", "--data.stream.shuffle_buffer=1"),
            *("--last_checkpoint.every_n_train_steps=1", "--resume"),
        ]

    HubGoes.hub = hub
    goes = ["--trainer.callbacks+=tests.data.test_stream_hub.HubGoes", "--trainer.callbacks.steps"]
    assert main([*line("cut"), *goes, "3"]) == 1
    error = capsys.readouterr().err
    assert "The stream of split 'train'" in error
    assert "--resume" in error
    hub.down = False
    assert main(line("cut")) == 0
    assert main(line("whole")) == 0
    last = "version_0/checkpoints/last.ckpt"
    cut, whole = (
        torch.load(tmp_path / folder / last, weights_only=True) for folder in ("cut", "whole")
    )
    assert cut["global_step"] == whole["global_step"] == 15
    for key, weight in whole["state_dict"].items():
        assert torch.equal(cut["state_dict"][key], weight), key
