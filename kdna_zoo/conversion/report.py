"""What a conversion did: the error of each layer after each step, what was left out, and why."""

from dataclasses import asdict, dataclass, field
from typing import Any

from kdna_zoo.records.formats import CONVERT, mark
from kdna_zoo.sharing import SharingPlan


@dataclass(frozen=True)
class LayerReport:
    """A layer that uses a shared kernel.

    Attributes:
        path: The layer.
        parent: The layer whose kernel it uses; itself if it is the parent.
        saved: Parameters that it has fewer than before, its adapter counted; 0 of a parent.
        errors: Mean square of the error of its output over that of the output, after each step.
    """

    path: str
    parent: str
    saved: int
    errors: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StepReport:
    """One step.

    Attributes:
        name: ``source``, ``share`` (each child takes its parent's kernel as it is), ``match``,
            ``fit``, ``norms`` or ``refine``.
        done: Whether it was done.
        note: What it did, or why it was left out.
        seconds: How long it took.
        error: Error of the network's output, relative to its variance; None without images.
        top1: Accuracy after it, a fraction from 0 to 1; None where it was not measured.
    """

    name: str
    done: bool
    note: str
    seconds: float = 0.0
    error: float | None = None
    top1: float | None = None


@dataclass(frozen=True)
class ConversionReport:
    """All of a conversion; prints as a table, and goes to JSON by `to_dict`.

    Attributes:
        plan: Who shares with whom.
        parameters: Of the source, as it was given, and of the result.
        images: Calibration images; 0 without.
        evaluated: Images on which accuracies were measured, and None if none were.
        seed: Of all choices at random.
        layers: Children and parents.
        steps: In order.
        added: Blocks that the source did not have.
    """

    plan: SharingPlan
    parameters: tuple[int, int]
    images: int
    evaluated: int | None
    seed: int
    layers: tuple[LayerReport, ...]
    steps: tuple[StepReport, ...]
    added: tuple[str, ...] = ()

    @property
    def saving(self) -> float:
        """Part of the source's parameters that is gone."""
        return 1 - self.parameters[1] / self.parameters[0]

    def step(self, name: str) -> StepReport | None:
        """Return a step by its name."""
        return next((step for step in self.steps if step.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {
            **mark(CONVERT),
            "plan": self.plan.to_dict(),
            "parameters": {"source": self.parameters[0], "converted": self.parameters[1]},
            "saving": self.saving,
            "images": self.images,
            "evaluated": self.evaluated,
            "seed": self.seed,
            "added": list(self.added),
            "steps": [asdict(step) for step in self.steps],
            "layers": [asdict(layer) for layer in self.layers],
        }

    def __str__(self) -> str:
        before, after = self.parameters
        lines = [f"{before:,} -> {after:,} parameters ({-self.saving:+.1%})"]
        for step in self.steps:
            figures = [f"error {step.error:.3g}"] if step.error is not None else []
            figures += [f"top-1 {step.top1:.2%}"] if step.top1 is not None else []
            text = ", ".join([*figures, step.note] if step.note else figures)
            lines.append(f"{step.name:<7} {'' if step.done else 'left out: '}{text}")
        return "\n".join(lines)
