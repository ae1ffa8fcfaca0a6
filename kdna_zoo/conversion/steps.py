"""The steps of a conversion, one after the other on one network, with what each one left.

See converting.py for what they are for. All steps work on `Conversion.source`, whose channels are
permuted by `match`, and `Conversion.model`, a copy of it that shares.
"""

import copy
import time
from typing import Any

from torch import Tensor, nn

from kdna_zoo.conversion.adapting import set_adapter, set_kernel, take_up
from kdna_zoo.conversion.batches import Batches, top1
from kdna_zoo.conversion.factors import Member, fit_together
from kdna_zoo.conversion.matching import match_channels
from kdna_zoo.conversion.norms import follow, norms_of
from kdna_zoo.conversion.observing import Observed, observe
from kdna_zoo.conversion.progress import Progress
from kdna_zoo.conversion.refining import refine_where_it_pays
from kdna_zoo.conversion.report import LayerReport, StepReport
from kdna_zoo.conversion.sample import sample_for
from kdna_zoo.conversion.seen import see
from kdna_zoo.conversion.spaces import permute
from kdna_zoo.conversion.tracing import find_structure
from kdna_zoo.layers import Child
from kdna_zoo.sharing import SharingPlan, share_kernels
from kdna_zoo.sharing.fitting import Layer

EXACT = 1e-5  # how far a permutation may move the output in float32, relative to the largest


class Conversion:
    """A conversion under way.

    Args:
        source: A copy of the source in eval mode, whose channels may be permuted.
        plan: Who shares with whom.
        added: Blocks that the source did not have, whose kernels are free.
        batches: Calibration images, if there are any.
        measured: Labelled images to measure by, if there are any.
        seed: Of choices at random.
        bar: Says what is going on.
        by_weights: Whether to match and fit by the weights alone, for all that the images show.
    """

    def __init__(
        self,
        source: nn.Module,
        plan: SharingPlan,
        added: tuple[str, ...],
        batches: Batches | None,
        measured: Batches | None,
        seed: int,
        bar: Progress,
        by_weights: bool = False,
    ) -> None:
        self._by_weights = by_weights or batches is None
        self.source, self.plan, self.added = source, plan, added
        self._batches, self._measured, self._seed, self._bar = batches, measured, seed, bar
        self.model = source
        self.steps: list[StepReport] = []
        self.images, self.evaluated = 0, None if measured is None else 0
        self._sample = batches.first if batches else sample_for(source)
        self._structure = find_structure(source, self._sample)
        self._paths = list(dict.fromkeys(p for s in plan for p in (s.parent, s.child)))
        self._errors: dict[str, dict[str, float]] = {path: {} for path in self._paths}
        self._observed: Observed | None = None
        self._probe: Tensor | None = None

    def observe(self) -> None:
        """Collect what layers and norms see on the images, and the accuracy of the source."""
        began = time.perf_counter()
        if self._batches:
            expected = self._batches.expected
            self._bar.begin("observing the source", expected)
            self._observed = observe(
                self.source, self._layers(), self._batches, expected, self._seed, self._bar.advance
            )
            self.images = self._observed.images
            self._probe = next(iter(self._batches))
        shown = None if self._by_weights else self._observed
        self._seen = see(self._layers(), self._structure, shown, self.source, self.added)
        self._done("source", f"{self.images:,} images" if self.images else "no images", began)

    def share(self) -> None:
        """Look at what is lost where each child takes its parent's kernel as it is."""
        began = time.perf_counter()
        for parent, children in self._groups().items():
            members = [self._member(path, fitted=False) for path in (parent, *children)]
            self._note("share", (parent, *children), members, members[0].kernel)
        if self._measured or self._probe is not None:
            self._make(fitted=False)
        self._done("share", "each child uses its parent's kernel as it is", began)

    def match(self, wanted: bool) -> None:
        """Permute hidden channels, and make sure that the source computes what it did."""
        began = time.perf_counter()
        if not wanted:
            return self._left_out("match", "not asked for")
        if self._structure.problem:
            return self._left_out("match", f"not traceable: {self._structure.problem}")
        self._bar.begin("matching channels", None)
        orders, seen = match_channels(self.plan, self._seen, self._structure)
        if not orders:
            return self._left_out("match", "no permutation of channels makes the layers more alike")
        moved = copy.deepcopy(self.source)
        permute(moved, self._structure.spaces, orders)
        difference = _difference(self.source, moved, self._sample)
        if difference > EXACT:
            return self._left_out("match", f"permuting would change the output by {difference:.1e}")
        self.source, self._seen = moved, seen
        if self._observed:
            norms = self._observed.norms
            for path in norms:
                space = self._structure.space_of(f"{path}.running_mean", 0)
                if space in orders:
                    norms[path] = norms[path].reordered(orders[space])
        for parent, children in self._groups().items():
            members = [self._member(path, fitted=False) for path in (parent, *children)]
            self._note("match", (parent, *children), members, members[0].kernel)
        channels = sum(len(order) for order in orders.values())
        self._done("match", f"{channels:,} channels in {len(orders)} spaces", began)
        return None

    def fit(self, wanted: bool) -> None:
        """Fit shared kernels and adapters, and write them into a network that shares."""
        began = time.perf_counter()
        self._make(fitted=wanted)
        if not wanted:
            return self._left_out("fit", "not asked for")
        by = "to the weights alone" if self._by_weights else "to the outputs on the images"
        self._done("fit", by, began)
        return None

    def follow(self, wanted: bool) -> None:
        """Let batch norms follow what has moved."""
        began = time.perf_counter()
        if not wanted:
            return self._left_out("norms", "not asked for")
        if not self._batches or not self._observed:
            return self._left_out("norms", "needs images")
        if not norms_of(self.source):
            return self._left_out("norms", "the network has no batch norm; biases took up the mean")
        count = self._follow()
        self._done("norms", f"{count} batch norms", began)
        return None

    def refine(self, wanted: bool | int) -> None:
        """Let blocks learn from the source's, and keep what they learned if it pays."""
        began = time.perf_counter()
        if wanted is False or wanted == 0:
            return self._left_out("refine", "not asked for")
        if not self._batches:
            return self._left_out("refine", "needs images")
        done, note = refine_where_it_pays(
            self.source, self.model, self.plan, self._batches, self.images, wanted, self._bar
        )
        if not done:
            return self._left_out("refine", note)
        self._done("refine", note, began)
        return None

    def layers(self) -> tuple[LayerReport, ...]:
        """Return what is known of each layer that shares, in the network's order."""
        parents = {share.child: share.parent for share in self.plan}
        order = [path for path, _ in self.source.named_modules() if path in self._errors]
        return tuple(
            LayerReport(p, parents.get(p, p), self._saved(p), self._errors[p]) for p in order
        )

    def _saved(self, path: str) -> int:
        child = self.model.get_submodule(path)
        if not isinstance(child, Child):
            return 0
        own = sum(p.numel() for p in child.parameters())
        bias = child.bias.numel() if child.bias is not None else 0
        return int(child.parent.weight.numel() + bias - own)

    def _layers(self) -> dict[str, Layer]:
        return {path: self.source.get_submodule(path) for path in self._paths}  # type: ignore[misc]

    def _groups(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for share in self.plan:
            groups.setdefault(share.parent, []).append(share.child)
        return groups

    def _norm(self, network: nn.Module, path: str) -> nn.Module | None:
        norm = self._structure.norms.get(path)
        return network.get_submodule(norm) if norm else None

    def _member(self, path: str, fitted: bool, child: bool = False) -> Member:
        seen, adapter = self._seen[path], self.plan.adapter
        absorbs = self._norm(self.source, path) is not None
        return Member(
            seen.kernel,
            seen.moments,
            seen.weight,
            seen.positions,
            filters=fitted and child and (adapter in ("full", "static") or absorbs),
            inputs=fitted and child and adapter in ("full", "channel"),
            spatial=fitted and child and adapter in ("full", "static") and seen.positions > 1,
        )

    def _make(self, fitted: bool) -> None:
        """Make the network that shares, from the source as it is now."""
        self.model = share_kernels(copy.deepcopy(self.source), self.plan)
        groups = self._groups()
        self._bar.begin("fitting" if fitted else "sharing", len(groups), " kernels")
        for parent, children in groups.items():
            self._bar.say(parent)
            paths = (parent, *children)
            members = [self._member(path, fitted, path != parent) for path in paths]
            kernel = fit_together(members) if fitted else members[0].kernel
            set_kernel(self.model.get_submodule(parent), kernel)  # type: ignore[arg-type]
            for path, member in zip(paths, members, strict=True):
                layer: Any = self.model.get_submodule(path)
                norm = self._norm(self.model, path)
                mean = self._seen[path].mean
                if fitted and mean is not None and bool(member.weight.any()):
                    fitted_kernel = kernel * member.f[..., None] * member.scale
                    take_up(layer.bias, norm, member, fitted_kernel, mean)
                if path != parent:
                    set_adapter(layer, member, norm)
            if fitted:
                self._note("fit", paths, members, kernel)
            self._bar.advance()

    def _note(
        self, step: str, paths: tuple[str, ...], members: list[Member], kernel: Tensor
    ) -> None:
        for path, member in zip(paths, members, strict=True):
            if bool(member.weight.any()):
                error, energy = member.error(kernel), member.energy()
                self._errors[path][step] = float(error.sum() / energy.sum().clamp_min(1e-20))

    def _follow(self) -> int:
        assert self._batches
        assert self._observed
        self._bar.begin("batch norms", self.images)
        told = _telling(self._batches, self._bar)
        fresh = {
            p for p in self._observed.norms if p.startswith(tuple(f"{a}." for a in self.added))
        }
        return follow(self.model, self.source, told, self._observed.norms, fresh)

    def _done(self, name: str, note: str, began: float) -> None:
        seconds = time.perf_counter() - began
        error = accuracy = None
        if self._probe is not None:
            error = _error(self.source, self.model, self._probe)
        if self._measured is not None:
            self._bar.begin(f"measuring after {name}", self._measured.expected)
            accuracy, self.evaluated = top1(self.model, self._measured)
        self.steps.append(StepReport(name, True, note, seconds, error, accuracy))

    def _left_out(self, name: str, note: str) -> None:
        self.steps.append(StepReport(name, False, note))


def _telling(batches: Batches, bar: Progress) -> Any:
    for images in batches:
        yield images
        bar.advance(len(images))


def _difference(first: nn.Module, second: nn.Module, images: Tensor) -> float:
    ours, theirs = first(images), second(images)
    if not isinstance(ours, Tensor):
        return 0.0
    return float((ours - theirs).abs().max() / ours.abs().max().clamp_min(1e-12))


def _error(source: nn.Module, model: nn.Module, images: Tensor) -> float | None:
    theirs, ours = source(images), model(images)
    if not isinstance(theirs, Tensor):
        return None
    return float((ours - theirs).square().mean() / theirs.var().clamp_min(1e-12))
