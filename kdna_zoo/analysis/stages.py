"""What a network has and does, stage by stage: parameters owned, shared and adapted, and work."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from kdna_zoo.models.macs import macs_by_layer
from kdna_zoo.sharing import audit
from kdna_zoo.sharing.stages import Stages


@dataclass(frozen=True)
class StageSummary:
    """One stage, or the whole network.

    Attributes:
        stage: Module path of the stage.
        own: Parameters its layers own, without adapters.
        adapter: Parameters of its children's channel attention and static modulation.
        shared: Parameters its children take from their parents; they count with the parents.
        macs: Multiply-adds for one image.
    """

    stage: str
    own: int
    adapter: int
    shared: int
    macs: int

    @property
    def parameters(self) -> int:
        """Parameters that the stage holds."""
        return self.own + self.adapter


def summarize(model: nn.Module, input_size: Sequence[int]) -> list[StageSummary]:
    """Sum up the parameters and multiply-adds of each stage, in the network's order.

    Args:
        model: A network in eval mode, best on the meta device.
        input_size: Channels, height and width of an image.
    """
    counts: dict[str, list[int]] = {}
    stages = Stages(model)

    def add(path: str, *numbers: int) -> None:
        old = counts.setdefault(stages.of(path), [0, 0, 0, 0])
        old[:] = [a + b for a, b in zip(old, numbers, strict=True)]

    for row in audit(model):
        add(row.path, row.own, row.adapter, row.shared, 0)
    for path, macs in macs_by_layer(model, input_size).items():
        add(path, 0, 0, 0, macs)
    return [StageSummary(stage, *numbers) for stage, numbers in counts.items()]


def total(stages: Sequence[StageSummary]) -> StageSummary:
    """Sum up the stages of a network."""
    return StageSummary(
        "total",
        own=sum(stage.own for stage in stages),
        adapter=sum(stage.adapter for stage in stages),
        shared=sum(stage.shared for stage in stages),
        macs=sum(stage.macs for stage in stages),
    )
