"""A sharing plan: which layer takes its kernel from which, as frozen data.

A plan prints as a list of ``child <- parent (r=4)`` lines, compares and hashes by value, goes to
JSON and back, and is checked twice: here for what can be seen without a network, and by
`share_kernels` against the network it is applied to.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, get_args

from kdna_zoo.errors import UserError
from kdna_zoo.layers import NormName


class PlanError(UserError):
    """A sharing plan contradicts itself or does not fit its network."""


@dataclass(frozen=True)
class Share:
    """One child and the parent whose kernel it takes.

    Attributes:
        child: Module path of the layer to replace, such as ``layer3.0.conv2``.
        parent: Module path of the layer that owns the kernel.
        reduction: Bottleneck ratio r of the child's channel attention.
    """

    child: str
    parent: str
    reduction: int = 4

    def __str__(self) -> str:
        return f"{self.child} <- {self.parent} (r={self.reduction})"


@dataclass(frozen=True)
class SharingPlan:
    """All shares of a network.

    Attributes:
        shares: The shares, in the order in which they print.
        norm: Norm inside the channel attention: ``"batch"`` (published) or ``"layer"``.

    Raises:
        PlanError: If a layer is a child twice, or is both child and parent, or a reduction or the
            norm is none there can be.
    """

    shares: tuple[Share, ...]
    norm: NormName = "batch"

    def __post_init__(self) -> None:
        if self.norm not in get_args(NormName):
            raise PlanError(
                f"unknown norm {self.norm!r} in the plan; choose one of "
                f"{', '.join(get_args(NormName))}"
            )
        counts = Counter(share.child for share in self.shares)
        for share in self.shares:
            if share.reduction < 1:
                raise PlanError(f"{share}: the reduction must be at least 1")
            if counts[share.child] > 1:
                raise PlanError(f"{share.child!r} is a child more than once; give it one parent")
            if share.parent in counts:
                raise PlanError(
                    f"{share.parent!r} is the parent of {share.child!r} and itself a child; "
                    "a parent must own its kernel, so share from its own parent instead"
                )

    def __len__(self) -> int:
        return len(self.shares)

    def __iter__(self) -> Iterator[Share]:
        return iter(self.shares)

    def __str__(self) -> str:
        return "\n".join(str(share) for share in self.shares)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON types."""
        return {"norm": self.norm, "shares": [asdict(share) for share in self.shares]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SharingPlan":
        """Make the plan that `to_dict` wrote."""
        return cls(tuple(Share(**share) for share in data["shares"]), norm=data["norm"])
