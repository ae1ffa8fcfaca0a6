"""A published folder takes the figures of later runs into its card, and keeps its weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdna_zoo.cli.app import main
from kdna_zoo.errors import UserError
from kdna_zoo.records.record import Measured, Throughput
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.folder import write_folder
from kdna_zoo.release.options import Release, make_series
from kdna_zoo.release.renewal import read_release, renew_folder

from .support import contents, make_record
from .test_card import WithRecord, shown

pytestmark = pytest.mark.integration

SPEED = Throughput(100.0, 16, "as loaded, not fused", "a machine")


@pytest.fixture
def published(raw_run: tuple[Path, Any], tmp_path: Path) -> Path:
    folder = tmp_path / "test_kdna_resnet.tiny"
    assert main(["publish", str(raw_run[0]), "--to", str(folder)]) == 0
    return folder


@pytest.fixture
def other_seed(changed_checkpoint: Any) -> Path:
    record = make_record()
    changed = make_record(
        run={**record["run"], "seed": 1}, metrics={**record["metrics"], "top1": 0.871}
    )
    checkpoint: Path = changed_checkpoint(kdna_zoo=changed)
    return checkpoint


@pytest.mark.parametrize("half", [False, True])
def test_nothing_to_add_is_the_same_folder(
    with_record: WithRecord, tmp_path: Path, half: bool
) -> None:
    trained = with_record(base_model="timm/resnet18.a1_in1k")
    control = make_series("control", [trained.record])
    measured = Measured(trained.record.metrics, SPEED, "a machine")
    for number, about in enumerate(
        (
            Release(tag="tiny", half=half, license="mit"),
            Release(half=half, control=control, measured=measured),
        )
    ):
        first = write_folder(trained, tmp_path / f"first{number}", about=about)
        again, _ = renew_folder(first, tmp_path / f"again{number}", False, lambda _, a: a)
        assert contents(again) == contents(first)


def test_later_runs_come_into_the_card(
    published: Path, other_seed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(published)
    here = ["publish", str(published), "--to", str(published)]
    assert main([*here, "--overwrite", "--control", str(other_seed)]) == 0
    assert main([*here, "--overwrite", "--seeds", str(other_seed)]) == 0
    after = contents(published)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"README.md", "metrics.json"}
    figures = json.loads(after["metrics.json"])
    assert figures["seeds"]["top1"] == {"0": 0.861, "1": 0.871}
    assert figures["control"]["top1"] == {"1": 0.871}
    rows = shown(after["README.md"].decode())
    assert ["test_kdna_resnet", "86.60 %", "0.71", "0, 1 (2)", "1,000"] in rows
    assert "Top-1 accuracy: 86.10 % of 1,000 images" in capsys.readouterr().out
    for again in ("--seeds", "--control"):
        assert main([*here, "--overwrite", again, str(other_seed)]) == 2
        assert "have the seed 1: --seeds and --control take each seed once" in (
            capsys.readouterr().err
        )
    assert contents(published) == after


def test_what_a_published_folder_does_not_take(
    published: Path, other_seed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, folder, seed = contents(published), str(published), str(other_seed)
    for options, message in (
        (
            ("--dry-run", "--seeds", seed),
            "--to FOLDER writes it again, with the figures of --seeds",
        ),
        (("--to", f"{folder}2", "--seeds", seed, "--half"), "--half is for a checkpoint"),
        (("--to", folder, "--seeds", seed), "is not empty: it holds"),
    ):
        assert main(["publish", folder, *options]) == 2
        assert message in capsys.readouterr().err
    assert contents(published) == before
    assert not Path(f"{folder}2").exists()


def test_an_edited_card_is_not_lost(published: Path, tmp_path: Path) -> None:
    card = published / "README.md"
    card.write_text(card.read_text() + "\nMy own words.\n")
    with pytest.raises(UserError, match=r"README.md was edited, and a new card would lose that"):
        renew_folder(published, tmp_path / "new", False, lambda _, about: about)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_a_folder_that_does_not_say_enough(published: Path, name: str) -> None:
    for content in ("{}", "[]", "{"):
        (published / name).write_text(content)
        with pytest.raises(UserError, match="does not say all that its card needs"):
            read_release(published)


def test_the_network_read_back(published: Path, trained: TrainedModel) -> None:
    found, about = read_release(published)
    assert replace(found.record, arch_args={}, data=trained.record.data) == trained.record
    assert about == Release(tag="tiny")
