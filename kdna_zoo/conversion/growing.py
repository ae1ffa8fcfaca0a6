"""From a network of timm to the deeper base of a KernelDNA network, without changing its function.

`kdna_resnet18` and `kdna_resnet50` have more blocks than their namesakes. A new block whose last
batch norm has the weight zero adds nothing to the stream of the network, which is positive there,
so it is the identity, exactly; and since nobody misses its kernels, they are free to be parents. It
goes where most shares then have a free kernel on one side; of equal places the last.
"""

from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from kdna_zoo.conversion.checks import check_source
from kdna_zoo.conversion.plain import plain
from kdna_zoo.conversion.sample import sample_for
from kdna_zoo.errors import UserError, did_you_mean
from kdna_zoo.models.compat import recorded_arguments
from kdna_zoo.records.checkpoints import describe_mismatch
from kdna_zoo.sharing import SharingPlan, plan_of

OURS = ("layers", "num_classes", "ablation", "plan", "base", "attn_norm")  # said by the target
STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Grown:
    """A network that was made deeper, for `convert`.

    Attributes:
        network: It computes what the source does.
        added: Paths of the blocks that the source did not have.
        parameters: Of the source.
    """

    network: nn.Module
    added: tuple[str, ...]
    parameters: int


def grow(source: nn.Module, target: str) -> tuple[Grown, SharingPlan]:
    """Bring a network to the depth of a KernelDNA network, and return the plan of that one.

    Args:
        source: A trained network of timm, the base of the target; it is left as it is.
        target: A registered name, such as ``kdna_resnet50``.

    Raises:
        UserError: If the source is not the target's base, or is deeper.
    """
    source = plain(source)
    check_source(source)
    wanted = _target(source, target)
    plan = plan_of(wanted)
    assert plan is not None
    torch_state = torch.get_rng_state()
    try:
        torch.manual_seed(0)
        network: nn.Module = timm.create_model(wanted.base_arch, **_arguments(source, wanted))
    finally:
        torch.set_rng_state(torch_state)
    added: list[str] = []
    names = {}
    for stage in STAGES if isinstance(network, ResNet) else ():
        have, want = len(source.get_submodule(stage)), len(network.get_submodule(stage))  # type: ignore[arg-type]
        if have > want:
            raise UserError(
                f"{stage} of the source has {have} blocks, and that of {target} {want}: a network "
                "can grow, and not shrink; give a target as deep or deeper"
            )
        place = _place(plan, stage, have, want)
        for block in range(have):
            names[f"{stage}.{block}."] = (
                f"{stage}.{block if block < place else block + want - have}."
            )
        added += [f"{stage}.{block}" for block in range(place, place + want - have)]
    state = {_renamed(key, names): value for key, value in source.state_dict().items()}
    own = network.state_dict()
    new = {k for k in own if k.startswith(tuple(f"{block}." for block in added))}
    if problem := describe_mismatch(state, own, new):
        raise UserError(f"the source does not fit the base of {target}: {problem}")
    network.load_state_dict({**{key: own[key] for key in new}, **state})
    for path in added:
        _silence(network.get_submodule(path))
    network.pretrained_cfg = source.pretrained_cfg
    network.eval()
    _check_same(source, network, target)
    return Grown(network, tuple(added), sum(p.numel() for p in source.parameters())), plan


def _target(source: nn.Module, target: str) -> Any:
    """Return the target with the source's classes, without weights or memory for them."""
    if not timm.is_model(target) or "." in target:
        names = timm.list_models("kdna_*")
        raise UserError(
            f"no network {target!r} to convert to; "
            + did_you_mean(target, names, f"such as {', '.join(names[:5])}; no tag goes with it")
        )
    config: Any = getattr(source, "pretrained_cfg", None) or {}
    architecture = getattr(source, "base_arch", None) or config.get("architecture")
    classes = getattr(source, "num_classes", None)
    try:
        with torch.device("meta"):
            plain: Any = timm.create_model(target)
            wanted: Any = timm.create_model(target, **_given(source, plain, classes))
    except (TypeError, ValueError) as error:
        raise UserError(f"{target} cannot be made with the source's arguments: {error}") from error
    if plan_of(wanted) is None:
        raise UserError(f"{target} shares no kernels: give a kdna_* network to convert to")
    if architecture != wanted.base_arch:
        raise UserError(
            f"{target} is made from {wanted.base_arch}, and the source is "
            f"{architecture or f'a {type(source).__name__} that timm did not make'}: give "
            f"{wanted.base_arch}, or convert this one by a plan of its own (plan=, or --saving)"
        )
    return wanted


def _given(source: nn.Module, plain: Any, classes: int | None) -> dict[str, Any]:
    """Return the arguments that the source was made with, as far as they are no depths."""
    given = recorded_arguments(source) if hasattr(source, "_model_args") else {}
    given = {key: value for key, value in given.items() if key not in OURS}
    return {**given, "num_classes": classes if classes is not None else plain.num_classes}


def _arguments(source: nn.Module, wanted: Any) -> dict[str, Any]:
    return {**dict(wanted.base_args), "pretrained": False}


def _place(plan: SharingPlan, stage: str, have: int, want: int) -> int:
    """Return where the new blocks of a stage go: the index of the first."""

    def cost(place: int) -> int:
        new = tuple(f"{stage}.{block}." for block in range(place, place + want - have))
        users: dict[str, int] = {}
        for share in plan:
            if share.parent.startswith(f"{stage}."):
                users.setdefault(share.parent, 0 if share.parent.startswith(new) else 1)
                users[share.parent] += not share.child.startswith(new)
        return sum(max(count - 1, 0) for count in users.values())

    if want == have:
        return have
    return min(range(have, 0, -1), key=cost)  # never before the first, which changes the width


def _renamed(key: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        if key.startswith(old):
            return new + key[len(old) :]
    return key


@torch.no_grad()
def _silence(block: nn.Module) -> None:
    """Let a block of a residual network add nothing to the stream."""
    last = [
        getattr(block, name) for name in ("bn3", "bn2") if getattr(block, name, None) is not None
    ]
    last[0].weight.zero_()
    last[0].bias.zero_()


def _check_same(source: nn.Module, network: nn.Module, target: str) -> None:
    was = source.training
    source.eval()
    try:
        with torch.no_grad():
            sample = sample_for(network)
            before, after = source(sample), network(sample)
    finally:
        source.train(was)
    same = isinstance(before, Tensor) and torch.equal(before, after)
    if not same:
        raise UserError(f"the source computes something else at the depth of {target}")
