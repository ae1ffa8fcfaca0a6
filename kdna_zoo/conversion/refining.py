"""Refinement block after block: what a fit of single layers leaves is made good where it arises.

Each block that has a child or a parent learns to give what the source's block gives, on the inputs
that it really gets, errors of the blocks before it included, so that it makes up for them as well.
Gradients stay within a block: its input counts as given. All of a block learns, the kernels that
are shared by several blocks from all of them, and the dynamic part of the channel attention, which
no closed form has. The batch norms keep their statistics meanwhile.

The error of a block is the mean square of the difference over the variance of what it should give.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from kdna_zoo.conversion.batches import Batches
from kdna_zoo.conversion.progress import Progress
from kdna_zoo.models.macs import count_macs
from kdna_zoo.sharing import SharingPlan

RATE = 1e-3  # of Adam at the start; falls to zero by a cosine
BUDGET = 3e12  # multiply-adds that are spent unless asked for more: a minute or so on two cores
LEAST = 50  # steps: with fewer it is not begun, unless asked for
HELD_OUT = 8  # every so manieth batch is not learned from, and tells whether learning pays


def blocks_of(plan: SharingPlan) -> list[str]:
    """Return the paths of the blocks that have a child or a parent, none inside another."""
    paths = {path.rpartition(".")[0] for share in plan for path in (share.child, share.parent)}
    return sorted(
        p for p in paths if not any(p.startswith(f"{q}.") or (not q and p) for q in paths)
    )


class BlockErrors:
    """The errors of a converted network's blocks against the source's.

    Args:
        source: The source, in the order of channels that the converted network has.
        model: The converted network.
        blocks: Paths of the blocks.
        local: Whether gradients stay within a block.
    """

    def __init__(self, source: nn.Module, model: nn.Module, blocks: list[str], local: bool) -> None:
        self.source, self.model, self.blocks, self.local = source, model, blocks, local
        self._ours: dict[str, Tensor] = {}
        self._theirs: dict[str, Tensor] = {}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Run a batch through both; return the error of each block, and of the output as ``""``."""
        self._ours, self._theirs = {}, {}
        with ExitStack() as stack:
            for network, outputs in ((self.source, self._theirs), (self.model, self._ours)):
                for path in self.blocks:
                    block = network.get_submodule(path)
                    stack.callback(block.register_forward_hook(_keeping(outputs, path)).remove)
                    if network is self.model and self.local:
                        stack.callback(block.register_forward_pre_hook(_cutting).remove)
            with torch.no_grad():
                theirs = self.source(images)
            ours = self.model(images)
        found = {
            path: _relative(self._ours[path], self._theirs[path])
            for path in self.blocks
            if path in self._ours
        }
        if isinstance(ours, Tensor):
            found[""] = _relative(ours, theirs)
        return found


def refine(
    errors: BlockErrors,
    batches: Callable[[], Iterable[Tensor]],
    steps: int,
    told: Callable[[], None],
    rate: float = RATE,
) -> None:
    """Let the blocks learn, for so many batches; the batches begin again when they end.

    Args:
        errors: The two networks.
        batches: Begins the batches from the first.
        steps: How many batches to learn from.
        told: Called after each.
        rate: Learning rate of Adam at the start.
    """
    model = errors.model
    learned = [p for path in errors.blocks for p in model.get_submodule(path).parameters()]
    learned = list({id(p): p for p in learned if p.is_floating_point()}.values())
    frozen = [(p, p.requires_grad) for p in model.parameters()]
    for parameter, _ in frozen:
        parameter.requires_grad_(False)
    for parameter in learned:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(learned, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    try:
        with torch.enable_grad():
            for batch in _cycled(batches, steps):
                found = errors(batch)
                loss = torch.stack(
                    [e for path, e in found.items() if path or not errors.local]
                ).sum()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                told()
    finally:
        for parameter, required in frozen:
            parameter.grad = None
            parameter.requires_grad_(required)


def refine_where_it_pays(
    source: nn.Module,
    model: nn.Module,
    plan: SharingPlan,
    batches: Batches,
    images: int,
    wanted: bool | int,
    bar: Progress,
) -> tuple[bool, str]:
    """Refine a converted network, in place, and undo it if a held-out part is no better for it.

    Args:
        source: The source, in the order of channels that the converted network has.
        model: The converted network.
        plan: Who shares with whom.
        batches: Calibration images.
        images: How many there are.
        wanted: How many batches to learn from; True: as many as the budget allows.
        bar: Says what is going on.

    Returns:
        Whether it was done, and what was done or why not.
    """
    errors = BlockErrors(source, model, blocks_of(plan), local=True)
    held = [batch for i, batch in zip(range(HELD_OUT + 1), batches, strict=False)][::HELD_OUT][:2]
    first = held[0]
    if wanted is True:
        macs = count_macs(source, first.shape[1:])
        steps = int(BUDGET / (4 * macs * len(first)))  # the source forward, the result both ways
        if steps < LEAST:
            return False, (
                f"its budget allows {steps} batches of this network, fewer than {LEAST}: ask for "
                "more by refine=N"
            )
        steps = min(steps, 20 * max(images // len(first), 1))
    else:
        steps = int(wanted)
    before = _mean_error(errors, held)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    bar.begin("refining blocks", steps, " batches")
    refine(errors, lambda: _others(batches), steps, bar.advance)
    after = _mean_error(errors, held)
    if after >= before:
        model.load_state_dict(state)
        return False, f"held-out error of the blocks would go from {before:.3g} to {after:.3g}"
    return True, f"{steps} batches; held-out error of the blocks {before:.3g} -> {after:.3g}"


def _others(batches: Batches) -> Iterator[Tensor]:
    """Yield the batches that are not held out; all, if there is one only."""
    only: Tensor | None = None
    for number, batch in enumerate(batches):
        if number % HELD_OUT:
            yield batch
        only = batch if number == 0 else None
    if only is not None:
        yield only


def _mean_error(errors: BlockErrors, batches: list[Tensor]) -> float:
    with torch.no_grad():
        found = [value for batch in batches for path, value in errors(batch).items() if path]
    return float(torch.stack(found).mean())


def _cycled(batches: Callable[[], Iterable[Tensor]], steps: int) -> Iterator[Tensor]:
    done = 0
    while done < steps:
        before = done
        for batch in batches():
            if done == steps:
                return
            yield batch
            done += 1
        if done == before:
            return


def _relative(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours - theirs).square().mean() / theirs.var().clamp_min(1e-12)


def _keeping(outputs: dict[str, Tensor], path: str) -> Any:
    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        outputs[path] = output

    return hook


def _cutting(module: nn.Module, args: Any) -> Any:
    return tuple(a.detach() if isinstance(a, Tensor) else a for a in args)
