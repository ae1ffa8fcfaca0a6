"""Which checkpoint a sub-command takes, by whatever word; none of them runs code or is damaged."""

import os
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from kdna_zoo.cli.app import main
from kdna_zoo.errors import UserError
from kdna_zoo.records.checkpoints import open_checkpoint
from kdna_zoo.training.command import cli as command
from tests.training.killed import STEPS_PER_EPOCH, arguments, run
from tests.training.resume.test_resume import assert_same
from tests.training.support import TINY

EVALUATIONS = ("validate", "test", "predict")
SLURM = {
    "SLURM_JOB_ID": "41",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NNODES": "1",
}


def long(word: str) -> Any:
    """A word that is like the others and is tried with them, where there is time."""
    return pytest.param(word, marks=pytest.mark.integration)


class Malice:
    """An object that makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of two epochs."""
    folder = tmp_path_factory.mktemp("finished")
    assert run(arguments(folder)) == 0
    return folder


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "runs"))


def checkpoint(runs: Path, name: str = "last", version: int = 0) -> Path:
    return runs / f"version_{version}" / "checkpoints" / f"{name}.ckpt"


def line(subcommand: str, runs: Path, *more: str) -> list[str]:
    few = [f"--trainer.limit_{kind}_batches=1" for kind in ("val", "test", "predict")]
    return [subcommand, *TINY, f"--trainer.default_root_dir={runs}", *few, *more]


def first_weight(path: Path) -> torch.Tensor:
    weight: torch.Tensor = torch.load(path, weights_only=True)["state_dict"]["model.conv1.weight"]
    return weight


def used(run: command.CLI) -> torch.Tensor:
    weight: torch.Tensor = run.model.get_parameter("model.conv1.weight").detach()
    return weight


def flip_a_bit(path: Path) -> str:
    """Flip one bit in the largest tensor of a checkpoint; return the name of its part."""
    with zipfile.ZipFile(path) as archive:
        tensors = [info for info in archive.infolist() if "/data/" in info.filename]
    part = max(tensors, key=lambda info: info.file_size)
    content = bytearray(path.read_bytes())
    header = part.header_offset
    name, extra = struct.unpack("<HH", content[header + 26 : header + 30])
    content[header + 30 + name + extra + part.file_size // 2 + 3] ^= 0x40
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # torch says nothing
    return part.filename


@pytest.mark.parametrize("subcommand", EVALUATIONS)
@pytest.mark.parametrize("word", ["last", long("best"), long("hpc")])
def test_a_word_finds_the_newest_run(subcommand: str, word: str, runs: Path) -> None:
    """An older run has other weights; the newest has none yet."""
    shutil.copytree(runs / "version_0", runs / "version_1")
    (runs / "version_2" / "checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint(runs, "previous"), checkpoint(runs, version=0))
    wanted = checkpoint(runs, "best" if word == "best" else "last", version=1)
    if word == "hpc":
        shutil.copy(checkpoint(runs, "previous"), runs / "hpc_ckpt_9.ckpt")
        wanted = Path(shutil.copy(wanted, runs / "hpc_ckpt_10.ckpt"))
    ran = command.run(line(subcommand, runs, f"--ckpt_path={word}"))
    assert Path(str(ran.trainer.ckpt_path)) == wanted
    assert torch.equal(used(ran), first_weight(wanted))
    if word != "best":
        assert not torch.equal(first_weight(wanted), first_weight(checkpoint(runs, "previous")))


@pytest.mark.parametrize("subcommand", EVALUATIONS)
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("last", "--ckpt_path last: there is no whole checkpoint of a run in "),
        ("best", "--ckpt_path best: there is no best.ckpt of a run in "),
        ("hpc", "--ckpt_path hpc: there is no hpc_ckpt_*.ckpt in "),
        ("registry:network", "no such checkpoint: registry:network"),
    ],
)
def test_no_word_measures_random_weights(
    subcommand: str, word: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(subcommand, tmp_path, f"--ckpt_path={word}")) == 2
    assert message in capsys.readouterr().err


def test_a_run_begins_from_a_file(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(runs, "--ckpt_path=best")) == 2
    said = capsys.readouterr().err
    assert "--ckpt_path best is for validate, test and predict; to begin a run from it" in said


@pytest.mark.parametrize("subcommand", ["fit", *EVALUATIONS])
@pytest.mark.parametrize("word", ["path", *map(long, ("last", "hpc", "best", "slurm"))])
def test_no_checkpoint_runs_code(
    subcommand: str,
    word: str,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever finds the file, and whatever the environment says of unpickling."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "mark"
    state = torch.load(checkpoint(runs), weights_only=True)
    for name in ("last", "best", "previous"):
        torch.save({**state, "malice": Malice(mark)}, checkpoint(runs, name))
    shutil.copy(checkpoint(runs), runs / "hpc_ckpt_1.ckpt")
    given = {"path": [f"--ckpt_path={checkpoint(runs)}"], "slurm": []}
    if word == "slurm":  # Lightning would take the file by itself
        for name, value in {**SLURM, "SLURM_RESTART_COUNT": "1"}.items():
            monkeypatch.setenv(name, value)
    more = given.get(word, [f"--ckpt_path={word}"])
    more += ["--trainer.max_epochs=1", "--trainer.num_nodes=1"] if subcommand == "fit" else []
    arguments = line(subcommand, runs, "--trainer.limit_train_batches=1", *more)
    if subcommand == "fit" and word in ("last", "hpc"):  # as --resume: none is whole
        with pytest.warns(UserWarning, match="holds a Python object"):
            assert main(arguments) == 0
    else:
        assert main(arguments) == 2
    assert not mark.exists()
    assert main([*arguments, "--weights_only=false"]) == 2
    assert not mark.exists()


@pytest.mark.parametrize("subcommand", ["fit", *EVALUATIONS])
def test_unsafe_loading_is_refused(
    subcommand: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"--ckpt_path={checkpoint(runs)}"
    assert main(line(subcommand, runs, path, "--weights_only=false")) == 2
    said = capsys.readouterr().err
    assert "--weights_only false would run code that a checkpoint may hold" in said


def test_slurm_has_nothing_evaluated_unasked(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    shutil.copy(checkpoint(runs), runs / "hpc_ckpt_1.ckpt")
    assert main(line("validate", runs, "--trainer.num_nodes=1")) == 2
    said = capsys.readouterr().err
    assert "hpc_ckpt_1.ckpt is the state of a job that SLURM was to requeue" in said


@pytest.mark.integration
def test_a_flipped_bit_is_passed_over_and_said(runs: Path) -> None:
    """The run goes on from the checkpoint before it."""
    part = flip_a_bit(checkpoint(runs))
    with pytest.warns(UserWarning, match=rf"last\.ckpt is damaged: its part {part} is not what"):
        resumed = command.run(arguments(runs, "--resume"))
    assert resumed.resumption is not None
    assert resumed.resumption.checkpoint.name in ("previous.ckpt", "best.ckpt")
    assert resumed.resumption.step == STEPS_PER_EPOCH
    assert resumed.trainer.global_step == 2 * STEPS_PER_EPOCH


def test_a_flipped_bit_is_not_published(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_a_bit(checkpoint(runs))
    assert main(["publish", str(checkpoint(runs)), "--to", str(runs / "published")]) == 2
    assert "last.ckpt is damaged: its part " in capsys.readouterr().err
    assert not (runs / "published").exists()
    assert main(line("validate", runs, f"--ckpt_path={checkpoint(runs)}")) == 2
    assert "last.ckpt is damaged" in capsys.readouterr().err


def test_a_flipped_bit_anywhere_is_seen(runs: Path) -> None:
    """In the structure, the numbers and the directory of the file, or it changes nothing."""
    path = checkpoint(runs)
    whole, content = torch.load(path, weights_only=True), path.read_bytes()
    seen = 0
    for place in range(7, len(content), len(content) // 60):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        try:
            loaded = open_checkpoint(path)
        except UserError:
            seen += 1
            continue
        for key in ("state_dict", "optimizer_states"):
            assert_same(loaded[key], whole[key], key)
    assert seen > 30


@pytest.mark.parametrize("subcommand", EVALUATIONS)
def test_resume_is_for_training(
    subcommand: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(subcommand, runs, "--resume")) == 2
    said = capsys.readouterr().err
    assert "--resume is for fit; to evaluate the newest run, give --ckpt_path last" in said


@pytest.mark.parametrize("key", ["checkpoint_path", "pretrained_cfg_overlay"])
def test_weights_that_timm_loads_are_checked_too(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, mark = tmp_path / "weights.pth", tmp_path / "mark"
    value = f"{{file: {file}, num_classes: 10}}" if key == "pretrained_cfg_overlay" else str(file)
    arguments = line("validate", tmp_path, f"--model.arch_args={{{key}: {value}}}")
    arguments += ["--model.pretrained=true"] if key == "pretrained_cfg_overlay" else []
    network = timm.create_model("test_kdna_resnet", num_classes=10)
    torch.save(network.state_dict(), file)
    assert main(arguments) == 0
    flip_a_bit(file)
    assert main(arguments) == 2
    assert f"{file} is damaged: its part " in capsys.readouterr().err
    torch.save({**network.state_dict(), "malice": Malice(mark)}, file)
    assert main(arguments) == 2
    assert f"{file} holds a Python object (posix.mkdir)" in capsys.readouterr().err
    assert not mark.exists()
