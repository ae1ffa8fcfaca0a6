"""Applying a plan to a built network, which stays what it was but for the children."""

from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import nn
from typing_extensions import TypeIs  # comes with torch

from kdna_zoo.errors import did_you_mean
from kdna_zoo.layers import Child, ChildConv2d, ChildLinear
from kdna_zoo.sharing.plan import PlanError, Share, SharingPlan
from kdna_zoo.sharing.stages import stage_of

Network = TypeVar("Network", bound=nn.Module)


@runtime_checkable
class SharesKernels(Protocol):
    """A network to which a plan was applied."""

    sharing_plan: SharingPlan


def share_kernels(model: Network, plan: SharingPlan) -> Network:
    """Replace the children of ``plan`` in ``model`` by child layers; parents stay as they are.

    The network is changed in place and returned, with the plan as ``model.sharing_plan``. All of
    the plan is checked first, so that an error leaves the network untouched.

    Args:
        model: Any network, such as one of ``timm.create_model``.
        plan: Children and parents by module path.

    Raises:
        PlanError: If a path is unknown (the nearest paths are named), a layer is no convolution
            or linear layer, the two kernels differ in shape, or parent and child are in different
            stages.
    """
    if isinstance(model, SharesKernels):
        raise PlanError("this network shares kernels already; apply a plan to a new one")
    modules = dict(model.named_modules())
    pairs = [(share, *_check(share, model, modules)) for share in plan]
    children = [(share, _make_child(share, plan, *layers)) for share, *layers in pairs]
    for share, child in children:
        model.set_submodule(share.child, child)
    model.sharing_plan = plan  # type: ignore[assignment]
    return model


def _make_child(
    share: Share, plan: SharingPlan, layer: nn.Module, parent: nn.Module
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


def _check(
    share: Share, model: nn.Module, modules: dict[str, nn.Module]
) -> tuple[nn.Conv2d | nn.Linear, nn.Conv2d | nn.Linear]:
    """Return the two layers that a share names, or say why they cannot share."""
    layer, parent = (_find_layer(path, modules) for path in (share.child, share.parent))
    child_stage, parent_stage = stage_of(model, share.child), stage_of(model, share.parent)
    if child_stage != parent_stage:
        raise PlanError(
            f"{share}: the child is in stage {child_stage!r}, its parent in {parent_stage!r}; "
            "share within one stage"
        )
    if layer.weight.shape != parent.weight.shape:
        raise PlanError(
            f"{share}: the kernels differ in shape, child {tuple(layer.weight.shape)}, "
            f"parent {tuple(parent.weight.shape)}"
        )
    return layer, parent


def _find_layer(path: str, modules: dict[str, nn.Module]) -> nn.Conv2d | nn.Linear:
    if path not in modules:
        hint = did_you_mean(path, modules, "and none with a name like it")
        raise PlanError(f"no layer {path!r} in this network; {hint}")
    module = modules[path]
    if not can_share(module):
        able = [name for name, m in modules.items() if can_share(m)]
        raise PlanError(
            f"{path!r} is a {type(module).__name__}, and only a Conv2d or Linear can share its "
            f"kernel; {did_you_mean(path, able, 'and none with a name like it')}"
        )
    return module


def can_share(module: nn.Module) -> TypeIs[nn.Conv2d | nn.Linear]:
    """Tell whether a layer is a plain convolution or linear layer; a subclass may compute more."""
    return type(module) in (nn.Conv2d, nn.Linear)
