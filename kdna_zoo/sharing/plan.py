"""A sharing plan: which layer takes its kernel from which, as frozen data.

A plan prints as a list of ``child <- parent (r=4)`` lines, compares and hashes by value, goes to
JSON and back, and is checked twice: here for what can be seen without a network, and by
`share_kernels` against the network it is applied to.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from kdna_zoo.errors import UserError
from kdna_zoo.layers import AdapterName, NormName

_DEPARTURES: dict[AdapterName, list[str]] = {
    "full": [],
    "channel": ["channel attention only"],
    "static": ["static modulation only"],
    "none": ["no adapter"],
}


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
        adapter: What each child has of an adapter: ``"full"`` (published), ``"channel"`` attention
            alone, ``"static"`` modulation alone, or ``"none"``.
        own_kernels: Each child keeps a kernel of its own beside its adapter, and none is shared.

    Raises:
        PlanError: If a layer is a child twice, or is both child and parent, or a reduction, the
            norm or the adapter is none there can be.
    """

    shares: tuple[Share, ...]
    norm: NormName = "batch"
    adapter: AdapterName = "full"
    own_kernels: bool = False

    def __post_init__(self) -> None:
        for kind, given, names in (
            ("norm", self.norm, NormName),
            ("adapter", self.adapter, AdapterName),
        ):
            if given not in get_args(names):
                raise PlanError(
                    f"unknown {kind} {given!r} in the plan; choose one of "
                    f"{', '.join(get_args(names))}"
                )
        counts = Counter(share.child for share in self.shares)
        for share in self.shares:
            if not isinstance(share.reduction, int) or share.reduction < 1:
                raise PlanError(f"{share}: the reduction must be a whole number of at least 1")
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
        departures = [self.departure] if self.departure else []
        if self.own_kernels:
            return "\n".join([*departures, *(f"{s.child} (r={s.reduction})" for s in self.shares)])
        return "\n".join([*departures, *map(str, self.shares)])

    @property
    def departure(self) -> str:
        """What sets the plan apart from the published ones, in words; empty if nothing does."""
        kernels = ["own kernels"] if self.own_kernels else []
        return ", ".join([*kernels, *_DEPARTURES[self.adapter]])

    @property
    def has_attention(self) -> bool:
        """Whether the children have a channel attention, of which norm and reductions speak."""
        return self.adapter in ("full", "channel")

    def parents_first(self) -> "SharingPlan":
        """Return the plan in which the first child of each parent changes places with it.

        Where a plan lists children that come before their parent, first things first, as the
        presets and `auto_plan` do, each child then comes after it.
        """
        groups: dict[str, list[Share]] = {}
        for share in self.shares:
            groups.setdefault(share.parent, []).append(share)
        shares: list[Share] = []
        for last, (first, *others) in groups.items():
            shares += [replace(share, parent=first.child) for share in others]
            shares.append(Share(last, first.child, first.reduction))
        return replace(self, shares=tuple(shares))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON types."""
        return {
            "norm": self.norm,
            "adapter": self.adapter,
            "own_kernels": self.own_kernels,
            "shares": [asdict(share) for share in self.shares],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SharingPlan":
        """Make the plan that `to_dict` wrote, of this version or an earlier one."""
        return cls(**{**data, "shares": tuple(Share(**share) for share in data["shares"])})
