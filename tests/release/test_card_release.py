"""What a card says beyond its record: costs, seeds, base, and the commands and code to use it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdna_zoo.errors import UserError
from kdna_zoo.records.record import Record
from kdna_zoo.release.card import render_card
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.folder import write_folder
from kdna_zoo.release.options import Release, make_series
from kdna_zoo.release.signature import is_generated

from .support import ARCH, make_record
from .test_card import MIT, WithRecord, front_matter, shown


def test_costs_beside_the_base(trained: TrainedModel) -> None:
    rows = shown(render_card(trained, MIT))
    costs = rows[rows.index(["Network", "Parameters", "Multiply-adds"]) + 1 :][:3]
    names = [row[0] for row in costs]
    assert names == [ARCH, "the same with a kernel of its own in each layer", "timm's resnet18"]
    own, same, base = (int(row[1].replace(",", "")) for row in costs)
    assert own == sum(p.numel() for p in trained.model.parameters())
    assert own < same < base


def test_several_seeds_and_the_control(with_record: WithRecord) -> None:
    def run(seed: int, top1: float) -> Record:
        record = make_record()
        return with_record(
            run={**record["run"], "seed": seed}, metrics={**record["metrics"], "top1": top1}
        ).record

    about = Release(
        seeds=make_series("ours", [run(0, 0.90), run(1, 0.91), run(2, 0.92)]),
        control=make_series("control", [run(0, 0.89)]),
    )
    rows = shown(render_card(with_record(), about))
    assert ["ours", "91.00 %", "1.00", "0, 1, 2 (3)", "1,000"] in rows
    assert ["control", "89.00 %", "one seed only", "0 (1)", "1,000"] in rows
    assert make_series("none", []) is None


def test_runs_that_make_no_series(with_record: WithRecord) -> None:
    run = with_record().record
    assert run.metrics is not None
    with pytest.raises(UserError, match=r"two runs of test_kdna_resnet have the seed 0"):
        make_series("ours", [run, run])
    with pytest.raises(UserError, match=r"with seed 0 was not measured at this checkpoint: give"):
        make_series("ours", [replace(run, metrics=None)])
    other = replace(run, run=replace(run.run, seed=1), metrics=replace(run.metrics, images=7))
    with pytest.raises(UserError, match=r"were measured on 7 and 1,000 images: a mean needs"):
        make_series("ours", [run, other])


def test_fine_tuned_weights_name_their_base(with_record: WithRecord) -> None:
    card = render_card(with_record(base_model="timm/resnet18.a1_in1k"), MIT)
    assert front_matter(card)["base_model"] == "timm/resnet18.a1_in1k"
    assert ["Trained from", "timm/resnet18.a1_in1k"] in shown(card)
    assert "base_model" not in front_matter(render_card(with_record(), MIT))


def test_command_that_measures_again(with_record: WithRecord) -> None:
    recipe = "kdna-zoo fit --config recipes/_base/fmnist.yaml --config recipes/a/fmnist.yaml --x 1"
    trained = with_record(run={**make_record()["run"], "command": recipe})
    card = render_card(trained, Release(tag="fmnist", repo_id="org/x"))
    assert (
        "kdna-zoo validate --config recipes/_base/fmnist.yaml --config recipes/a/fmnist.yaml"
        " --model.arch test_kdna_resnet.fmnist --model.pretrained true --model.arch_args null\n"
        in card
    )
    mixed = {**make_record()["run"], "command": recipe, "precision": "bf16-mixed"}
    card = render_card(with_record(run=mixed), Release(tag="fmnist", repo_id="org/x"))
    assert "--model.arch_args null --trainer.precision 32-true\n" in card, "as it was measured"
    own = f"{recipe} --data.path 'my pets' --data.val_fraction=0.2 --resume"
    trained = with_record(run={**make_record()["run"], "command": own})
    card = render_card(trained, Release(tag="fmnist", repo_id="org/x"))
    assert "--model.arch_args null --data.path 'my pets' --data.val_fraction=0.2\n" in card
    assert "of that command is a folder, made from zalando-datasets/fashion\\_mnist." in card
    trained = with_record(run={**make_record()["run"], "command": None})
    assert (
        "kdna-zoo validate --model.arch local-dir:. --model.pretrained true"
        " --data.path zalando-datasets/fashion_mnist\n"
    ) in render_card(trained, MIT)


def test_snippets_name_where_the_weights_lie(trained: TrainedModel) -> None:
    card = render_card(trained, Release(repo_id="org/name"))
    assert card.count('"hf-hub:org/name"') == 3
    assert "local-dir:." not in card
    assert is_generated(card)
    for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        assert code.startswith("import kdna_zoo  # first")
    assert "transformers" not in card


def test_backbone_snippet_runs(trained: TrainedModel, tmp_path: Path) -> None:
    folder = write_folder(trained, tmp_path / "x")
    codes = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    code = codes[1].replace("local-dir:.", f"local-dir:{folder}")
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["backbone"](names["images"])) == 5
    assert names["embedder"](names["images"]).ndim == 2
