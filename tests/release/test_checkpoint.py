import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn

from kdna_zoo.errors import UserError
from kdna_zoo.release.checkpoint import read_checkpoint

from .support import ARCH, logits, make_record
from .training import TinyClassifier, train

Change = Callable[..., Path]


def network_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}


def same_weights(model: nn.Module, state: dict[str, Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


def test_reads_the_network_that_was_trained(raw_run: tuple[Path, TinyClassifier]) -> None:
    path, module = raw_run
    trained = read_checkpoint(path)
    assert torch.equal(logits(trained.model), logits(module.model))
    assert not trained.model.training
    assert trained.record.arch == ARCH
    assert not trained.averaged


def test_raw_and_averaged_weights(ema_checkpoint: Path) -> None:
    checkpoint = torch.load(ema_checkpoint, weights_only=True)
    raw = read_checkpoint(ema_checkpoint, "raw")
    ema = read_checkpoint(ema_checkpoint, "ema")
    assert same_weights(raw.model, network_part(checkpoint["current_model_state"]))
    assert same_weights(ema.model, network_part(checkpoint["state_dict"]))
    assert not torch.equal(logits(raw.model), logits(ema.model))


def test_only_the_measured_weights_have_metrics(ema_checkpoint: Path) -> None:
    """Validation runs on the averaged weights, so their figures are not those of the raw ones."""
    assert read_checkpoint(ema_checkpoint, "raw").record.metrics is None
    ema = read_checkpoint(ema_checkpoint, "ema").record.metrics
    assert ema is not None
    assert ema.top1 == 0.861


def test_no_averaged_weights(raw_run: tuple[Path, TinyClassifier]) -> None:
    with pytest.raises(UserError, match=r"no averaged \(EMA\) weights. Ask for raw weights"):
        read_checkpoint(raw_run[0], "ema")


def test_average_that_never_began(tmp_path: Path) -> None:
    late = EMAWeightAveraging(update_starting_at_step=1000)
    path = train(tmp_path, TinyClassifier(make_record()), late)
    with pytest.raises(UserError, match=r"were never updated"):
        read_checkpoint(path, "ema")


def test_unknown_weights(raw_run: tuple[Path, TinyClassifier]) -> None:
    with pytest.raises(UserError, match=r"no such weights: 'swa'. Choose raw or ema"):
        read_checkpoint(raw_run[0], "swa")


def test_file_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such checkpoint: .*nowhere.ckpt"):
        read_checkpoint(tmp_path / "nowhere.ckpt")


def test_folder_given(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder. Give the .ckpt file itself"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"some text", b'{"a": 1}', b"PK\x03\x04 zip?"])
def test_no_checkpoint_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x.ckpt is no checkpoint, or is damaged or cut off"):
        read_checkpoint(path)


def test_truncated_checkpoint(raw_run: tuple[Path, TinyClassifier], tmp_path: Path) -> None:
    path = tmp_path / "half.ckpt"
    content = raw_run[0].read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"half.ckpt is no checkpoint, or is damaged or cut off"):
        read_checkpoint(path)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


def test_code_in_a_checkpoint_is_refused(
    changed_checkpoint: Change, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    path = changed_checkpoint(extra=Harmful())
    with pytest.raises(UserError, match=r"holds a Python object \(posix.system\)"):
        read_checkpoint(path)
    assert not (tmp_path / "harmed").exists()


def test_weights_without_a_training_checkpoint(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"no training checkpoint: it has no 'state_dict'"):
        read_checkpoint(tmp_path / "weights.pth")


def test_checkpoint_of_another_program(tmp_path: Path) -> None:
    path = train(tmp_path, TinyClassifier(record=None))
    with pytest.raises(UserError, match=r"step.ckpt: it has no 'kdna_zoo' record, so kdna-zoo did"):
        read_checkpoint(path)


def test_record_of_a_later_version(changed_checkpoint: Change) -> None:
    path = changed_checkpoint(kdna_zoo=make_record(format=2))
    with pytest.raises(UserError, match=r"changed.ckpt: its record has format 2"):
        read_checkpoint(path)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    path = train(tmp_path, TinyClassifier(make_record(), arch="test_efficientnet"))
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert f"do not fit the architecture in its record, {ARCH} with 3 classes" in message
    assert "missing: 'conv1." in message
    assert "unexpected: 'conv_stem.weight'" in message
    assert " more" in message
    assert "trained with kdna-zoo" in message


def test_weights_of_another_number_of_classes(changed_checkpoint: Change) -> None:
    path = changed_checkpoint(kdna_zoo=make_record(num_classes=2, label_names=["a", "b"]))
    with pytest.raises(UserError, match=r"'fc.weight' \(3 x \d+ in the file, 2 x \d+ in the netw"):
        read_checkpoint(path)


def test_unknown_architecture_names_the_nearest(changed_checkpoint: Change) -> None:
    path = changed_checkpoint(kdna_zoo=make_record(arch="test_kdna_resnett"))
    with pytest.raises(UserError, match=rf"no architecture 'test_kdna_resnett'.*{ARCH}"):
        read_checkpoint(path)


def test_arguments_that_the_architecture_does_not_take(changed_checkpoint: Change) -> None:
    path = changed_checkpoint(kdna_zoo=make_record(arch_args={"wings": 2}))
    with pytest.raises(UserError, match=r"cannot be built with the arguments .*\{'wings': 2\}"):
        read_checkpoint(path)
