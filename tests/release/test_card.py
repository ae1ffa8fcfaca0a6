import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
from huggingface_hub import ModelCard, ModelCardData
from markdown_it import MarkdownIt
from PIL import Image

from kdna_zoo.records.record import parse_record
from kdna_zoo.release.card import fenced, md, release_name, render_card
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.folder import write_folder
from kdna_zoo.release.options import Release

from .support import LABELS, make_record

MIT = Release(license="mit")
WithRecord = Callable[..., TrainedModel]
ODD = [
    "a|b",
    "`code` and ```fence```",
    "<b>bold</b> & *stars* _lines_",
    "two\nlines --- \u2028 three",
    "{{ 7 * 7 }} {% raw %}",
    "# no heading: 'yes' \"no\" \\ $x$ ~x~ [y](z)",
    "sneaker 👟 日本",
    "---",
]


def front_matter(text: str) -> dict[str, Any]:
    data: dict[str, Any] = ModelCard(text).data.to_dict()  # type: ignore[no-untyped-call]
    return data


def shown(markdown: str) -> list[list[str]]:
    """The text of each table row, as a reader sees it."""
    rows: list[list[str]] = []
    inside = False
    for token in MarkdownIt("commonmark").enable("table").parse(ModelCard(markdown).text):
        if token.type in ("tr_open", "tr_close"):
            inside = token.type == "tr_open"
            rows += [[]] if inside else []
        if token.type == "inline" and inside:
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


def ten_classes(trained: TrainedModel, **changes: Any) -> TrainedModel:
    names = [f"class {number}" for number in range(10)]
    record = parse_record(make_record(num_classes=10, label_names=names, **changes))
    return replace(trained, record=record)


def test_front_matter(trained: TrainedModel) -> None:
    data = front_matter(render_card(trained, MIT))
    assert data["library_name"] == "timm"
    assert data["pipeline_tag"] == "image-classification"
    assert data["tags"] == ["image-classification", "timm", "kdna-zoo"]
    assert data["license"] == "mit"
    assert data["datasets"] == ["zalando-datasets/fashion_mnist"]  # what it was made from


def test_model_index(trained: TrainedModel) -> None:
    metrics = {**make_record()["metrics"], "top1": 0.8610000014305115}  # as float32 gives it
    data = front_matter(render_card(ten_classes(trained, metrics=metrics), MIT))
    assert data["model-index"] == [
        {
            "name": "test_kdna_resnet.fashion_mnist_sample",
            "results": [
                {
                    "task": {"type": "image-classification"},
                    "dataset": {
                        "name": "Fashion-MNIST sample",
                        "type": "fashion_mnist_sample",
                        "split": "test",
                        "args": {"images": 1000, "seed": 0},
                    },
                    "metrics": [
                        {"type": "accuracy", "value": 0.861, "name": "Top-1 accuracy"},
                        {"type": "accuracy", "value": 0.998, "name": "Top-5 accuracy"},
                    ],
                }
            ],
        }
    ]
    assert ModelCardData(**data).eval_results is not None


def test_top5_of_few_classes_says_nothing(trained: TrainedModel) -> None:
    results = front_matter(render_card(trained, MIT))["model-index"][0]["results"]
    assert [metric["name"] for metric in results[0]["metrics"]] == ["Top-1 accuracy"]


def test_data_set_on_the_hub(with_record: WithRecord) -> None:
    data = {**make_record()["data"], "name": "Pets", "hub_id": "org/pets", "revision": "abc123"}
    card = render_card(with_record(data=data), MIT)
    assert front_matter(card)["datasets"] == ["org/pets"]
    result = front_matter(card)["model-index"][0]["results"][0]
    assert result["dataset"]["type"] == "org/pets"
    assert result["dataset"]["revision"] == "abc123"
    assert ["On the Hub", "org/pets, revision abc123"] in shown(card)


def test_results_say_on_what_they_were_measured(trained: TrainedModel) -> None:
    rows = shown(render_card(ten_classes(trained), MIT))
    assert ["Top-1 accuracy", "86.10 %", "Fashion-MNIST sample", "test", "1,000", "0"] in rows
    assert ["Top-5 accuracy", "99.80 %", "Fashion-MNIST sample", "test", "1,000", "0"] in rows


def test_training_and_data(trained: TrainedModel) -> None:
    card = render_card(trained, MIT)
    rows = shown(card)
    assert ["Batch", "64 images x 1 device"] in rows
    assert ["Duration", "0:01:32 (h:mm:ss)"] in rows
    assert ["Speed", "327 training images a second, validation included in the time"] in rows
    assert ["Git commit", "0123456789abcdef"] in rows
    assert ["Training", "6,000 images, split train"] in rows
    assert ["Licence of the data", "mit"] in rows
    assert "```bash\nkdna-zoo fit --config recipes/quickstart.yaml\n```" in card


def test_effective_batch_is_a_product(with_record: WithRecord) -> None:
    run = {**make_record()["run"], "devices": 4, "accumulate": 2}
    rows = shown(render_card(with_record(run=run), MIT))
    assert ["Batch", "64 images x 4 devices x 2 accumulated"] in rows


def test_no_cell_is_empty_and_no_value_missing(trained: TrainedModel) -> None:
    card = render_card(trained, MIT)
    assert "None" not in card
    assert all(all(row) for row in shown(card) if row != ["", ""])
    assert "\n\n\n" not in card


def test_run_that_did_not_come_from_the_command_line(with_record: WithRecord) -> None:
    nothing = dict.fromkeys(("command", "recipe", "seed", "batch_size", "git_commit"))
    card = render_card(with_record(run={**make_record()["run"], **nothing}), MIT)
    assert "None" not in card
    assert "recipe.yaml" not in card
    assert ["Seed", "not set"] in shown(card)


def test_demonstration_is_called_one(with_record: WithRecord) -> None:
    assert "This is a demonstration." in render_card(with_record(), MIT)
    data = {**make_record()["data"], "name": "Pets"}
    assert "demonstration" not in render_card(with_record(data=data), MIT)


def test_sharing_plan(trained: TrainedModel) -> None:
    card = render_card(trained, MIT)
    plan = trained.model.sharing_plan
    assert len(plan.shares) > 0
    rows = shown(card)
    for share in plan.shares:
        assert [share.child, share.parent, str(share.reduction)] in rows
    parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    assert ["Parameters", f"{parameters:,}"] in rows
    assert "arXiv:2503.23379" in card


@pytest.mark.parametrize(
    ("control", "said", "unsaid"),
    [
        ("own", "no adapter. Each of its layers has a kernel of its own.", "scale for each"),
        ("own_channel", "of its own; 4 have an attention on their input chan", "scale for each"),
        ("shared", "each child layer uses a parent layer's.", "attention"),
        ("shared_channel", "uses a parent layer's, and weighs its input channels", "scale for ea"),
        ("shared_static", "for each filter and each kernel position.", "attention"),
        (
            "full",
            "each kernel position, and weighs its input channels by",
            "control of an ablation",
        ),
    ],
)
def test_a_control_of_the_ablation_is_called_one(control: str, said: str, unsaid: str) -> None:
    model = timm.create_model("test_kdna_resnet", num_classes=len(LABELS), ablation=control)
    record = parse_record(make_record(arch_args={"ablation": control}))
    card = render_card(TrainedModel(model, record, "raw", averaged=False), MIT)
    assert said in card
    assert unsaid not in card
    assert ("It is a control of an ablation, not the published network" in card) is (
        control != "full"
    )
    cells = ["layer3.0.conv2", "layer3.1.conv2"]
    rows = [row for row in shown(card) if row[:2] == cells]
    attends = control in ("full", "shared_channel")
    assert rows == ([] if "own" in control else [[*cells, "4"] if attends else cells])


def test_plain_network_has_no_plan() -> None:
    model = timm.create_model("test_resnet", num_classes=len(LABELS))
    record = parse_record(make_record(arch="test_resnet"))
    card = render_card(TrainedModel(model, record, "raw", averaged=False), MIT)
    assert "## Sharing plan" not in card
    assert "2503.23379" not in card


def test_weights_that_were_not_measured(trained: TrainedModel) -> None:
    record = replace(trained.record, metrics=None)
    card = render_card(replace(trained, record=record), MIT)
    assert "These weights were not measured.\n" in card
    assert not {"model-index", "model_name", "metrics"} & front_matter(card).keys()
    card = render_card(replace(trained, record=record, averaged=True), MIT)
    assert "not measured: the run measured the running average" in card


def test_odd_characters_are_shown_as_they_are(with_record: WithRecord) -> None:
    record = make_record()
    names = {"num_classes": len(ODD), "label_names": ODD}
    data = {**record["data"], "name": " / ".join(ODD), "license": ODD[2]}
    run = {**record["run"], "hardware": ODD[0], "command": "fit 'a```b'"}
    card = render_card(with_record(**names, data=data, run=run), MIT)
    rows = shown(card)
    one_line = [" ".join(name.split()) for name in ODD]
    assert ["Classes", f"{len(ODD)}: {', '.join(one_line)}"] in rows
    assert ["Hardware", "a|b"] in rows
    assert ["Data set", " / ".join(one_line)] in rows
    assert "````bash\nfit 'a```b'\n````" in card
    dataset = front_matter(card)["model-index"][0]["results"][0]["dataset"]
    assert dataset["name"] == " / ".join(one_line)


@pytest.mark.parametrize("name", ODD)
def test_odd_label_in_a_published_folder(
    with_record: WithRecord, tmp_path: Path, name: str
) -> None:
    folder = write_folder(with_record(label_names=[name, "b", "c"]), tmp_path / "x")
    reloaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert reloaded.pretrained_cfg["label_names"] == [name, "b", "c"]


def test_many_classes_are_cut_short(trained: TrainedModel) -> None:
    names = [f"class {number}" for number in range(1000)]
    record = parse_record(make_record(num_classes=1000, label_names=names))
    card = render_card(replace(trained, record=record), MIT)
    assert "class 19 and 980 more, see `config.json`" in card
    assert "class 20" not in card


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("ILSVRC/imagenet-1k", "ilsvrc_imagenet_1k"),
        ("Fotos (2026)!", "fotos_2026"),
        ("图", "custom"),
    ],
)
def test_release_name(with_record: WithRecord, name: str, tag: str) -> None:
    trained = with_record(data={**make_record()["data"], "name": name})
    assert release_name(trained.record) == f"test_kdna_resnet.{tag}"


def test_md_and_fenced() -> None:
    assert md(" a_b |\n c ") == r"a\_b \| c"
    assert fenced("x") == "```\nx\n```"
    assert fenced("a ```` b", "bash") == "`````bash\na ```` b\n`````"


@pytest.mark.integration
def test_usage_works_as_pasted(trained: TrainedModel, tmp_path: Path) -> None:
    """Runs the card's own code in a new Python, in the published folder, on a picture."""
    folder = write_folder(trained, tmp_path / "x")
    Image.linear_gradient("L").resize((60, 40)).save(folder / "image.png")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    code = readme.partition("```python\n")[2].partition("```")[0]
    repository = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({repository!r})\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("%  ") for line in done.stdout.splitlines()]
    assert {label for _, label in lines} == set(LABELS)
    assert sum(float(share) for share, _ in lines) == pytest.approx(100, abs=0.2)
