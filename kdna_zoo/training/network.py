"""Creating the network to train, by timm's own factory."""

from typing import Any

import torch
from torch import nn

from kdna_zoo.errors import UserError
from kdna_zoo.models import compat, creation
from kdna_zoo.names import stands_for_weights
from kdna_zoo.records.checkpoints import check_given_weights

SHARED = "any_kdna"  # the name of any network with a sharing plan


def create_network(
    arch: str,
    pretrained: bool,
    num_classes: int,
    arch_args: dict[str, Any],
    reset_head: bool = False,
) -> nn.Module:
    """Return ``timm.create_model(arch, ...)``, or say why there is no such network.

    Args:
        arch: Name for timm.
        pretrained: Whether to load its weights; a name that stands for weights always has them.
        num_classes: Classes of the head.
        arch_args: Further arguments for timm.
        reset_head: Whether to make a fresh head by the network's own ``reset_classifier``; a head
            with published weights is left alone, and one that is a dynamic convolution's own.

    Raises:
        UserError: If timm knows no such name (the nearest names are given), or cannot build it or
            load its weights as asked.
    """
    if "num_classes" in arch_args:
        raise UserError("the number of classes is the data's: set data.num_classes, not arch_args")
    check_given_weights(arch_args)
    pretrained = pretrained or stands_for_weights(arch)
    network: Any = creation.create_network(arch, pretrained, num_classes=num_classes, **arch_args)
    if reset_head and not pretrained and type(network.get_classifier()) is nn.Linear:
        network.reset_classifier(num_classes)
    return network  # type: ignore[no-any-return]


def compile_network(network: nn.Module, backend: bool | str) -> None:
    """Compile a network in place, so that the names of its weights stay as they are.

    Args:
        network: The network.
        backend: Name of a backend of ``torch.compile``, or True for torch's own.

    Raises:
        UserError: If torch has no such backend; those it has are listed.
    """
    name = "inductor" if backend is True else str(backend)
    known = torch.compiler.list_backends(exclude_tags=())
    if name not in known:
        raise UserError(f"torch cannot compile with {name!r}; it has {', '.join(known)}")
    network.compile(backend=name)


def published_as(network: Any) -> str | None:
    """Return the repository on the Hub that a network's weights belong to; None if to none."""
    repo_id = network.pretrained_cfg.get("hf_hub_id") or ""
    return repo_id.partition("@")[0] or None


def recorded_as(network: Any) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments by which timm builds a network again.

    Of a network that `share_kernels` has changed, whatever its family, these are ``any_kdna`` with
    its base and its plan.
    """
    arch: str = network.pretrained_cfg["architecture"]
    # What timm recorded, which for a published network includes the arguments in its config.
    arguments = {
        key: value
        for key, value in compat.recorded_arguments(network).items()
        if key != "num_classes"
    }
    plan = getattr(network, "sharing_plan", None)
    if plan is None or (hasattr(network, "base_arch") and arch != SHARED):
        return arch, arguments
    base = {"base": arch} if arch != SHARED else {}
    return SHARED, {**arguments, **base, "plan": plan.to_dict()}
