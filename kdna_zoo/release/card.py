"""The model card: a README.md made from a trained network and its record, and from nothing else.

The text is in card.md.jinja; this module gives it its data and the Hub its front matter. Whatever
comes from outside (labels, names, hardware) is escaped: `md` for running text and tables, `fenced`
for code.
"""

import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from kdna_zoo.printable import printable
from kdna_zoo.records.record import Record, arguments_of, recipes_of
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.costs import compare_costs
from kdna_zoo.release.options import Release
from kdna_zoo.release.signature import signed

TEMPLATE = Path(__file__).with_name("card.md.jinja")
TASK = "image-classification"
DEMONSTRATION = ("mnist", "cifar")  # data sets of small pictures, for learning and for tests
MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&$!{}])")
LABELS_SHOWN = 20


def release_name(record: Record, tag: str | None = None) -> str:
    """Name a release as timm names weights: the architecture, a point and a tag."""
    return f"{record.arch}.{tag or release_tag(record)}"


def release_tag(record: Record) -> str:
    """Return the tag that a data set's name gives, in lower case and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", record.data.name.lower()).strip("_") or "custom"


def render_card(trained: TrainedModel, about: Release) -> str:
    """Render the README.md of a release, signed as generated.

    Args:
        trained: The network and its record.
        about: What the publisher adds.
    """
    record = trained.record
    name = release_name(record, about.tag)
    plan = getattr(trained.model, "sharing_plan", None)
    card = ModelCard.from_template(
        card_data(record, about),
        template_path=str(TEMPLATE),
        name=name,
        record=record,
        run=record.run,
        trained=trained,
        about=about,
        license_id=about.license,
        plan=plan,
        costs=compare_costs(trained.model, record) if plan else [],
        series=[series for series in (about.seeds, about.control) if series],
        accuracies=accuracies(record),
        parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
        demonstration=_is_demonstration(record),
        seed="not set" if record.run.seed is None else record.run.seed,
        conversion=about.conversion,
        validate=_validate_command(record, name, about.repo_id),
        source=f"hf-hub:{about.repo_id}" if about.repo_id else "local-dir:.",
        version=record.run.versions.get("kdna_zoo", "unknown"),
        labels_shown=LABELS_SHOWN,
        duration=timedelta(seconds=round(record.run.seconds)),
        md=md,
        fenced=fenced,
    )
    return signed(str(card))


def card_data(record: Record, about: Release) -> ModelCardData:
    """Return the front matter, which the Hub reads to list and filter the model."""
    results = _eval_results(record)
    based: dict[str, Any] = {"base_model": record.base_model, "base_model_relation": "finetune"}
    return ModelCardData(
        library_name="timm",
        pipeline_tag=TASK,
        tags=[TASK, "timm", "kdna-zoo"],
        license=about.license,
        datasets=None if about.conversion else _datasets(record),
        metrics=["accuracy"] if results else None,
        model_name=release_name(record, about.tag) if results else None,
        eval_results=results,
        **(based if record.base_model else {}),
    )


def _datasets(record: Record) -> list[str] | None:
    return [record.data.hub_id] if record.data.hub_id else record.data.sources or None


def accuracies(record: Record) -> dict[str, float]:
    """Return the measured accuracies that say something, as fractions from 0 to 1, by name."""
    measured = record.metrics
    if measured is None or measured.top1 is None:
        return {}
    found = {"Top-1 accuracy": measured.top1}
    if measured.top5 is not None and record.num_classes > 5:  # with 5 classes each one is in the 5
        found["Top-5 accuracy"] = measured.top5
    return found


def _eval_results(record: Record) -> list[EvalResult] | None:
    """Return the figures as the Hub's model-index has them; fractions from 0 to 1."""
    measured, data = record.metrics, record.data
    if measured is None:
        return None
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=data.hub_id or release_tag(record),
            dataset_name=one_line(data.name),
            dataset_split=measured.split,
            dataset_revision=data.revision,
            dataset_args={"images": measured.images, "seed": record.run.seed},
            metric_type="accuracy",
            metric_name=name,
            metric_value=round(value, 6),  # single precision has noise beyond
        )
        for name, value in accuracies(record).items()
    ]


def _validate_command(record: Record, name: str, repo_id: str | None) -> str | None:
    """Write the command that measures the accuracy again; None if nobody else has the images."""
    model = name if repo_id else "local-dir:."
    loaded = f"--model.arch {model} --model.pretrained true"
    recipes, given = recipes_of(record.run), data_options(arguments_of(record.run))
    if recipes:
        configs = " ".join(f"--config {recipe}" for recipe in recipes)
        exact = " --trainer.precision 32-true" if record.run.precision != "32-true" else ""
        own = f"kdna-zoo validate {configs} {loaded} --model.arch_args null{exact}"  # their own
        return " ".join([own, *(shlex.quote(word) for word in given)])
    places = [place for place in (record.data.hub_id, *(record.data.sources or [])) if place]
    return f"kdna-zoo validate {loaded} --data.path {places[0]}" if places else None


def data_options(words: list[str]) -> list[str]:
    """Return what a training's command line says of the data: each option with its value.

    A recipe may name another data set than the one that the run was given.
    """
    found: list[str] = []
    for word, following in zip(words, [*words[1:], "--"], strict=False):
        if word.startswith("--data."):
            found.append(word)
            if "=" not in word and not following.startswith("--"):
                found.append(following)
    return found


def _is_demonstration(record: Record) -> bool:
    known = f"{record.data.name} {record.data.hub_id or ''}".lower()
    return any(name in known for name in DEMONSTRATION)


def one_line(text: object) -> str:
    """Return the text on one line, with single spaces."""
    return printable(" ".join(str(text).split()))


def md(text: object) -> str:
    """Return the text on one line, so that Markdown shows each of its characters as it is."""
    return MARKDOWN.sub(r"\\\1", one_line(text))


def fenced(text: str, language: str = "") -> str:
    """Return the text as a block of code, whatever backticks it has."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip()}\n{fence}"
