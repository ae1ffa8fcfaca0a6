"""Applying a plan to a built network, which stays what it was but for the children."""

from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import nn

from kdna_zoo.layers import Child, ChildConv2d, ChildLinear
from kdna_zoo.sharing.fitting import Fitting, Layer
from kdna_zoo.sharing.plan import PlanError, Share, SharingPlan

Network = TypeVar("Network", bound=nn.Module)
WAYS_TO_MERGE = ("fuse", "reparameterize", "switch_to_deploy")  # of blocks of timm


@runtime_checkable
class SharesKernels(Protocol):
    """A network to which a plan was applied."""

    sharing_plan: SharingPlan


def share_kernels(model: Network, plan: SharingPlan) -> Network:
    """Replace the children of ``plan`` in ``model`` by child layers; parents stay as they are.

    The network is changed in place and returned, with the plan as ``model.sharing_plan``, by which
    a run records it: see `plan_of`. All of the plan is checked first, so that an error leaves the
    network untouched.

    Args:
        model: Any network, such as one of ``timm.create_model``.
        plan: Children and parents by module path.

    Raises:
        PlanError: If a path is unknown (the nearest paths are named), a layer is no convolution
            or linear layer with a kernel of its own, the two kernels differ in shape, groups, type
            or device, or parent and child are in different stages.
    """
    if isinstance(model, SharesKernels) or any(isinstance(m, Child) for m in model.modules()):
        raise PlanError("this network shares kernels already; apply a plan to a new one")
    fitting = Fitting(model)
    pairs = [(share, *fitting.check(share)) for share in plan]
    if plan.own_kernels and plan.adapter != "none":
        _check_merging(model, plan)
    children = [(share, _make_child(share, plan, *layers)) for share, *layers in pairs]
    for share, child in children:
        model.set_submodule(share.child, child)
    model.sharing_plan = plan  # type: ignore[assignment]
    return model


def _check_merging(model: nn.Module, plan: SharingPlan) -> None:
    """Refuse children whose own kernel a block of timm would merge, leaving out the adapter."""
    for share in plan:
        parts = share.child.split(".")
        for depth in range(1, len(parts)):
            path = ".".join(parts[:depth])
            block = model.get_submodule(path)
            if any(hasattr(block, way) for way in WAYS_TO_MERGE):
                raise PlanError(
                    f"{share.child!r} lies in {path!r}, a {type(block).__name__} that merges its "
                    "kernels when it is reparameterized, and would lose the adapter of a child "
                    "with a kernel of its own; let it share, or take another network"
                )


def _make_child(
    share: Share, plan: SharingPlan, layer: Layer, parent: Layer
) -> Child[nn.Conv2d] | Child[nn.Linear]:
    options: Any = {"reduction": share.reduction, "norm": plan.norm, "adapter": plan.adapter}
    try:
        if isinstance(layer, nn.Linear) and isinstance(parent, nn.Linear):
            return ChildLinear.from_linear(layer, None if plan.own_kernels else parent, **options)
        assert isinstance(layer, nn.Conv2d)
        assert isinstance(parent, nn.Conv2d)
        return ChildConv2d.from_conv(layer, None if plan.own_kernels else parent, **options)
    except ValueError as error:
        raise PlanError(f"{share}: {error}") from error
