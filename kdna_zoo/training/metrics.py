"""What is measured on a split: loss, top-1 and top-5 accuracy, and on how many images."""

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric, MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy

from kdna_zoo.errors import UserError


def make_metrics(num_classes: int) -> MetricCollection:
    """Make the metrics; top-5 only where it says something.

    Raises:
        UserError: If there is one class only.
    """
    if num_classes < 2:
        raise UserError(
            f"there is nothing to tell apart in {num_classes} class: give data of two or more (an "
            "image folder has a folder for each)"
        )
    metrics: dict[str, Metric | MetricCollection] = {
        "loss": MeanMetric(),
        "top1": MulticlassAccuracy(num_classes, top_k=1, average="micro"),
        "images": SumMetric(),
    }
    if num_classes > 5:
        metrics["top5"] = MulticlassAccuracy(num_classes, top_k=5, average="micro")
    return MetricCollection(metrics, compute_groups=False)


def update_metrics(metrics: MetricCollection, logits: Tensor, labels: Tensor) -> None:
    """Count a batch in: logits (N, classes), labels (N,)."""
    metrics["top1"].update(logits, labels)
    if "top5" in metrics:
        metrics["top5"].update(logits, labels)
    metrics["loss"].update(F.cross_entropy(logits, labels, reduction="none"))
    metrics["images"].update(len(labels))
