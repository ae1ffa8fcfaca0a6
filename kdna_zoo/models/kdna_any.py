"""Any network of timm with a sharing plan, under one name: ``any_kdna``.

`share_kernels` changes a network that is there already, so nothing but the program that called it
could build it again. Under this name the base and the plan are arguments like others: timm writes
them beside the weights, and a checkpoint's record has them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import timm
from timm.models import PretrainedCfg, get_pretrained_cfg, model_entrypoint, register_model
from torch import nn

from kdna_zoo.errors import UserError, did_you_mean
from kdna_zoo.models._builder import build_kdna, default_cfg, make_default_cfgs
from kdna_zoo.sharing import auto_plan

default_cfgs = make_default_cfgs({"any_kdna": default_cfg()})


@register_model
def any_kdna(
    pretrained: bool = False,
    base: str | None = None,
    plan: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """A network of timm that shares kernels by a plan.

    Args:
        pretrained: Load weights, which only ``local-dir:`` and ``hf-hub:`` have.
        base: timm's name of the network, such as ``resnext50_32x4d``, without a tag.
        plan: What `SharingPlan.to_dict` returns; None: that of `auto_plan`.
        **kwargs: Arguments of the base, and of `build_kdna`.

    Raises:
        UserError: If there is no such base.
    """
    if base is None or not timm.is_model(base) or "." in base:
        hint = did_you_mean((base or "").split(".")[0], timm.list_models(), "no tag goes with it")
        raise UserError(
            "any_kdna is a network of timm that shares kernels: name it as the argument base, as "
            f"in base='resnext50_32x4d', got {base!r}; {hint}"
        )
    own: PretrainedCfg = get_pretrained_cfg(base)  # type: ignore[assignment]  # there is one
    own = replace(
        own, architecture="any_kdna", tag="", url=None, file=None, hf_hub_id=None, state_dict=None
    )
    entry = model_entrypoint(base)
    given = {} if plan is None else {"plan": plan}
    return build_kdna("any_kdna", entry, auto_plan, pretrained, own=own, **given, **kwargs)
