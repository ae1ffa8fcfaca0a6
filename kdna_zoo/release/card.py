"""The model card: a README.md made from a trained network and its record, and from nothing else.

The text is in card.md.jinja; this module gives it its data and the Hub its front matter. Whatever
comes from outside (labels, names, hardware) is escaped: `md` for running text and tables, `fenced`
for code.
"""

import re
from datetime import timedelta
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.record import Record

TEMPLATE = Path(__file__).with_name("card.md.jinja")
TASK = "image-classification"
DEMONSTRATION = ("mnist", "cifar")  # data sets of small pictures, for learning and for tests
MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&$!{}])")
LABELS_SHOWN = 20


def release_name(record: Record) -> str:
    """Name a release as timm names weights: the architecture, a point and what it learned."""
    return f"{record.arch}.{release_tag(record)}"


def release_tag(record: Record) -> str:
    """Return the part after the point: the data set's name in lower case and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", record.data.name.lower()).strip("_") or "custom"


def render_card(trained: TrainedModel, license: str) -> str:
    """Render the README.md of a release.

    Args:
        trained: The network and its record.
        license: Licence of the weights, as an identifier of the Hub.
    """
    record = trained.record
    card = ModelCard.from_template(
        card_data(record, license),
        template_path=str(TEMPLATE),
        name=release_name(record),
        record=record,
        run=record.run,
        trained=trained,
        license_id=license,
        plan=getattr(trained.model, "sharing_plan", None),
        accuracies=accuracies(record),
        parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
        demonstration=_is_demonstration(record),
        seed="not set" if record.run.seed is None else record.run.seed,
        version=record.run.versions.get("kdna_zoo", "unknown"),
        labels_shown=LABELS_SHOWN,
        duration=timedelta(seconds=round(record.run.seconds)),
        md=md,
        fenced=fenced,
    )
    return str(card)


def card_data(record: Record, license: str) -> ModelCardData:
    """Return the front matter, which the Hub reads to list and filter the model."""
    results = _eval_results(record)
    return ModelCardData(
        library_name="timm",
        pipeline_tag=TASK,
        tags=[TASK, "timm", "kdna-zoo"],
        license=license,
        datasets=[record.data.hub_id] if record.data.hub_id else record.data.sources or None,
        metrics=["accuracy"] if results else None,
        model_name=release_name(record) if results else None,
        eval_results=results,
    )


def accuracies(record: Record) -> dict[str, float]:
    """Return the measured accuracies that say something, as fractions from 0 to 1, by name."""
    measured = record.metrics
    if measured is None:
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
            dataset_args={"images": measured.images},
            metric_type="accuracy",
            metric_name=name,
            metric_value=round(value, 6),  # single precision has noise beyond
        )
        for name, value in accuracies(record).items()
    ]


def _is_demonstration(record: Record) -> bool:
    known = f"{record.data.name} {record.data.hub_id or ''}".lower()
    return any(name in known for name in DEMONSTRATION)


def one_line(text: object) -> str:
    """Return the text on one line, with single spaces."""
    return " ".join(str(text).split())


def md(text: object) -> str:
    """Return the text on one line, so that Markdown shows each of its characters as it is."""
    return MARKDOWN.sub(r"\\\1", one_line(text))


def fenced(text: str, language: str = "") -> str:
    """Return the text as a block of code, whatever backticks it has."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip()}\n{fence}"
