"""What a source of a conversion must be, looked at before any work is done."""

import re
from typing import Any

from torch import Tensor, nn

from kdna_zoo.errors import UserError
from kdna_zoo.finite import what_is_not_finite
from kdna_zoo.layers import Child
from kdna_zoo.layers.child import GatedLayer
from kdna_zoo.sharing import PlanError, SharingPlan
from kdna_zoo.sharing.apply import SharesKernels


def check_source(model: nn.Module) -> None:
    """Check that a network can be converted.

    Raises:
        UserError: If it shares kernels already, is fused or quantised, has no weights, or some that
            are not finite; the message says which.
    """
    if not isinstance(model, nn.Module):
        raise UserError(
            f"a network is needed, got a {type(model).__name__}: give a module, such as one of "
            "timm.create_model"
        )
    for path, module in model.named_modules():
        if isinstance(module, GatedLayer) or _is_folded(path, module, model):
            raise UserError(
                f"this network is fused ({path!r} is what is left of a layer): convert it as it "
                "was trained, and fuse the result"
            )
        if type(module).__module__.startswith(("torch.ao.nn", "torch.nn.quantized")):
            raise _quantised(path, type(module).__name__)
    if isinstance(model, SharesKernels) or any(isinstance(m, Child) for m in model.modules()):
        raise PlanError(
            "this network shares kernels already: convert the network that it was made from, or "
            "fine-tune this one"
        )
    state: dict[str, Any] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if not state:
        raise UserError(f"{type(model).__name__} has no weights: there is nothing to convert")
    for key, tensor in state.items():
        if type(tensor) not in (nn.Parameter, Tensor, nn.Buffer) or (
            isinstance(tensor, nn.Parameter) and not tensor.is_floating_point()
        ):
            raise _quantised(key, type(tensor).__name__)
        if tensor.is_meta:
            raise UserError(f"{key!r} is on the meta device and has no values: load weights first")
    if unfit := what_is_not_finite(state):
        raise UserError(f"the source has {unfit}: nothing can be fitted to it; take other weights")


def check_plan(plan: SharingPlan) -> None:
    """Check that a plan says what to share.

    Raises:
        PlanError: If it shares nothing.
    """
    if not isinstance(plan, SharingPlan):
        raise PlanError(
            f"a plan is a SharingPlan, got a {type(plan).__name__}: make one by auto_plan(model), "
            "suggest_plan(model, images, saving=0.3), or of Share(child, parent)"
        )
    if not len(plan):
        raise PlanError("the plan has no shares, so nothing would be converted")
    if plan.own_kernels:
        raise PlanError(
            "the plan lets each child keep a kernel of its own, so nothing would be shared: "
            "convert by a plan that shares"
        )


def _is_folded(path: str, module: nn.Module, model: nn.Module) -> bool:
    """Tell whether a batch norm stood here that was folded into the convolution before it."""
    outer, _, name = path.rpartition(".")
    number = re.fullmatch(r"bn(\d*)", name)
    if not number or not isinstance(module, nn.Identity):
        return False
    conv = getattr(model.get_submodule(outer), f"conv{number[1]}", None)
    return getattr(conv, "bias", None) is not None


def _quantised(where: str, kind: str) -> UserError:
    return UserError(
        f"this network is quantised ({where!r} is a {kind}), and its kernels cannot be fitted: "
        "convert it in floating point, and quantise the result"
    )
