"""A KernelDNA network is one of timm's own networks with a sharing plan applied.

`build_kdna` is what each registered name calls: it hands timm's builder a function that makes the
base network by its public entry point and applies the plan. Weights are found and checked first
(see _loading.py) and loaded by timm. All else (``features_only``, ``in_chans``, ``num_classes``,
``output_stride`` and so on) is timm's.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import PretrainedCfg, build_model_with_cfg, generate_default_cfgs
from torch import nn

from kdna_zoo.errors import UserError
from kdna_zoo.layers import NormName
from kdna_zoo.models._pretrained import checked_arguments, checked_source, choose, fit_check
from kdna_zoo.models.compat import record_arguments
from kdna_zoo.models.weights import PublishedWeights, weights_of
from kdna_zoo.sharing import PlanError, SharingPlan, ablate, share_kernels

_ARCHITECTURES: dict[str, PretrainedCfg] = {}  # each one's own configuration, without weights


def make_default_cfgs(architectures: Mapping[str, Mapping[str, Any]]) -> Any:
    """Make what timm looks for as `default_cfgs`, from architectures and the weights manifest.

    Args:
        architectures: Registered name -> the architecture's own configuration.
    """
    configs: dict[str, dict[str, Any] | PretrainedCfg] = {}
    for arch, own in architectures.items():
        _ARCHITECTURES[arch] = PretrainedCfg(**{**own, "architecture": arch})
        tags = weights_of(arch).items()
        if not any(weights.source(name) for name, weights in tags):
            configs[arch] = dict(own)  # the default, as long as no tag has weights
        for name, weights in tags:
            configs[name] = {**own, **_config_of(name, weights, own)}
    return generate_default_cfgs(configs)


def _config_of(name: str, weights: PublishedWeights, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a tag's weights say in place of the architecture."""
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in weights.data_config.items()}
    same_size = config["input_size"] == own["input_size"]
    return {
        **config,
        "pool_size": own["pool_size"] if same_size else None,
        "num_classes": weights.num_classes,
        "label_names": tuple(weights.label_names),
        "license": weights.license,
        **weights.source(name),
    }


def build_kdna(
    variant: str,
    base: Callable[..., nn.Module],
    make_plan: Callable[[nn.Module], SharingPlan],
    pretrained: bool = False,
    *,
    own: PretrainedCfg | None = None,
    feature_cfg: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Build the network registered as ``variant``.

    Args:
        variant: The registered name, for timm's default configuration and weights.
        base: timm's entry point of the base network.
        make_plan: Makes the sharing plan for the base network, whose depths a user may have set.
        pretrained: Load published weights, of the default tag unless another is asked for.
        own: The architecture's configuration, without weights; None: as `make_default_cfgs` has it.
        feature_cfg: How timm's builder takes the base network apart for ``features_only``.
        **kwargs: Arguments of timm's builder and of the base network, and four of our own. Three
            change the plan. ``attn_norm``: the norm inside the channel attention, ``"batch"`` or
            ``"layer"``. ``ablation``: a control of `kdna_zoo.sharing.ablation`, such as
            ``"shared_channel"``. ``plan``: another plan in place of the published one, as what
            `SharingPlan.to_dict` returns: timm writes arguments beside the weights, and can only
            write plain types. And ``fix_group_fanout=False`` starts depthwise and other grouped
            kernels as torchvision, ODConv and KernelWarehouse do, see `start_by_whole_fan_out`.

    Raises:
        PlanError: If there is no such norm or control, or the plan is none or does not fit.
        UserError: If grouped kernels are to start otherwise and there are none.
        WeightsError: If the weights cannot be had, were altered, or do not fit the network.
    """

    def build(
        attn_norm: NormName | None = None,
        ablation: str = "full",
        plan: Mapping[str, Any] | None = None,
        fix_group_fanout: bool = True,
        **model_args: Any,
    ) -> nn.Module:
        network = make_base(base, model_args)
        if not fix_group_fanout:
            start_by_whole_fan_out(network)
        chosen = ablate(make_plan(network) if plan is None else _read_plan(plan), ablation)
        return share_kernels(network, replace(chosen, norm=attn_norm) if attn_norm else chosen)

    given, overlay = (kwargs.pop(f"pretrained_cfg{end}", None) for end in ("", "_overlay"))
    own = own or _ARCHITECTURES[variant]
    config, arch_args = choose(variant, own, given, pretrained)
    config = replace(config, **(overlay or {}))
    if pretrained:
        config = replace(config, **checked_source(config, kwargs.get("cache_dir")))
    network: nn.Module = build_model_with_cfg(
        build,
        variant,
        pretrained,
        pretrained_cfg=config,  # type: ignore[arg-type]  # timm takes it as well as a dict
        pretrained_filter_fn=fit_check(config, bool(kwargs.get("features_only")), own),
        feature_cfg=dict(feature_cfg or {}),  # timm fills it in
        **{**arch_args, **kwargs},
    )
    record_arguments(network, arch_args)  # timm adds the user's own
    return network


def _read_plan(plan: Mapping[str, Any]) -> SharingPlan:
    if isinstance(plan, SharingPlan):
        raise PlanError("give plan=plan.to_dict(): a SharingPlan cannot be written beside weights")
    try:
        return SharingPlan.from_dict(dict(plan))
    except PlanError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            f"plan is no sharing plan ({type(error).__name__}: {error}); give what to_dict() of a "
            "SharingPlan returns, such as {'shares': [{'child': 'layer4.0.conv2', 'parent': "
            "'layer4.1.conv2'}]}"
        ) from error


def build_peer(
    variant: str,
    base: Callable[..., nn.Module],
    change: Callable[[nn.Module], nn.Module],
    pretrained: bool,
    **kwargs: Any,
) -> nn.Module:
    """Build timm's ``base`` as registered under ``variant``; ``change`` makes layers dynamic."""

    def build(**model_args: Any) -> nn.Module:
        return change(make_base(base, model_args))

    nested = base.__name__.startswith("mobilenet")
    features = {"flatten_sequential": True} if nested else {}
    kwargs |= checked_arguments(kwargs.get("pretrained_cfg"), pretrained, kwargs)
    return build_model_with_cfg(build, variant, pretrained, feature_cfg=features, **kwargs)


def make_base(base: Callable[..., nn.Module], model_args: dict[str, Any]) -> nn.Module:
    """Build timm's network that another stands on, and note on it which that is."""
    network = base(pretrained=False, **model_args)
    network.base_arch = base.__name__  # type: ignore[assignment]  # timm's name of it
    network.base_args = model_args  # type: ignore[assignment]  # and its arguments
    return network


def start_by_whole_fan_out(network: nn.Module) -> None:
    """Draw grouped kernels anew: normal, with variance 2 / (O K K).

    timm's MobileNetV2 takes the fan-out of a group in place of the layer's, O / groups, as
    TensorFlow's does. Before a batch norm the scale of a kernel changes no output, but the smaller
    kernel learns faster.
    """
    grouped = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    if not grouped:
        raise UserError(
            f"fix_group_fanout=False starts grouped kernels, and {network.base_arch} has no "
            "grouped convolution: leave it out"
        )
    for conv in grouped:
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")


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
