"""A KernelDNA network is one of timm's own networks with a sharing plan applied.

`build_kdna` is what each registered name calls: it hands timm's builder a function that makes the
base network by its public entry point and applies the plan. All else (weights, ``features_only``,
``in_chans``, ``num_classes``, ``output_stride`` and so on) is timm's.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg
from torch import nn

from kdna_zoo.layers import NormName
from kdna_zoo.sharing import SharingPlan, share_kernels


def build_kdna(
    variant: str,
    base: Callable[..., nn.Module],
    make_plan: Callable[[nn.Module], SharingPlan],
    pretrained: bool = False,
    *,
    feature_cfg: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Build the network registered as ``variant``.

    Args:
        variant: The registered name, for timm's default configuration and weights.
        base: timm's entry point of the base network.
        make_plan: Makes the sharing plan for the base network, whose depths a user may have set.
        pretrained: Load the published weights.
        feature_cfg: How timm's builder takes the base network apart for ``features_only``.
        **kwargs: Arguments of timm's builder and of the base network, and ``attn_norm``: the norm
            inside the channel attention, ``"batch"`` or ``"layer"``, in place of the plan's.
    """

    def build(attn_norm: NormName | None = None, **model_args: Any) -> nn.Module:
        network = make_base(base, model_args)
        plan = make_plan(network)
        return share_kernels(network, replace(plan, norm=attn_norm) if attn_norm else plan)

    return build_model_with_cfg(
        build,
        variant,
        pretrained,
        feature_cfg=dict(feature_cfg or {}),  # timm fills it in
        **kwargs,
    )


def make_base(base: Callable[..., nn.Module], model_args: dict[str, Any]) -> nn.Module:
    """Build timm's network that another stands on, and note on it which that is."""
    network = base(pretrained=False, **model_args)
    network.base_arch = base.__name__  # type: ignore[assignment]  # timm's name of it
    network.base_args = model_args  # type: ignore[assignment]  # and its arguments
    return network


def count_blocks(network: nn.Module, *stages: str) -> dict[str, int]:
    """Count the blocks of each stage, which are the children of the module at its path."""
    return {path: len(list(network.get_submodule(path).children())) for path in stages}


def default_cfg(**overrides: Any) -> dict[str, Any]:
    """Return a timm default configuration for ImageNet at 224, tested at resize 256."""
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "paper_ids": "arXiv:2503.23379",
        "paper_name": "KernelDNA: Dynamic Kernel Sharing via Decoupled Naive Adapters",
        **overrides,
    }
