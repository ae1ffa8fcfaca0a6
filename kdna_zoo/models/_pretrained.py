"""What ``pretrained=True`` and a tag mean for our names, settled before timm builds the network.

A tag brings its configuration and its architecture's arguments; what the user gives wins. The file
is found and checked here, and timm then loads that very file: a branch or tag of the Hub becomes
the commit it points to. `fit_check` is what timm calls with the weights before it loads them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from timm.models import PretrainedCfg, get_pretrained_cfg, resolve_pretrained_cfg
from torch import Tensor, nn

from kdna_zoo.errors import UserError, WeightsError
from kdna_zoo.finite import what_is_not_finite
from kdna_zoo.models.fetch import check_file, commit_of, fetch, fetch_config, file_sha256
from kdna_zoo.models.published import CONFIG, check_config
from kdna_zoo.models.weights import FILE, ORGANISATION, PublishedWeights, known_weights, weights_of
from kdna_zoo.paths import recipes_folder
from kdna_zoo.records.checkpoints import describe_mismatch

Config = str | dict[str, Any] | None
State = dict[str, Tensor]


def choose(
    arch: str, own: PretrainedCfg, given: Config, pretrained: bool
) -> tuple[PretrainedCfg, Mapping[str, Any]]:
    """Settle on a configuration, and on the arguments of the architecture that belong to it.

    Args:
        arch: The registered name.
        own: The architecture's configuration, without weights.
        given: What the user or timm's factory passes: a tag, a whole configuration or nothing.
        pretrained: Whether weights are wanted. Without a tag and without weights, the network is
            the architecture's own, whatever its default tag was trained on.

    Raises:
        WeightsError: There is no such tag; those that there are get listed.
    """
    if not given and not pretrained:
        return own, {}
    tags = weights_of(arch)
    if isinstance(given, str) and f"{arch}.{given}" not in tags:
        raise WeightsError(f"{arch} has no tag {given!r}. {_what_there_is(arch)}")
    config = resolve_pretrained_cfg(arch, given)
    weights = tags.get(f"{arch}.{config.tag}") if not given or isinstance(given, str) else None
    return config, weights.arch_args if weights else {}


def checked_source(
    config: PretrainedCfg, cache_dir: str | PathLike[str] | None = None
) -> dict[str, Any]:
    """Find and check the file that timm is going to load.

    Args:
        config: The resolved configuration.
        cache_dir: The Hub's cache; None: its usual place.

    Returns:
        What to change in the configuration, so that timm loads this file and no other.

    Raises:
        WeightsError: There are no weights, or they cannot be had, or were altered.
    """
    if config.custom_load:
        raise WeightsError(
            f"the configuration of {config.architecture} states custom_load"
            f" {config.custom_load!r}, which would pass over the checks: take it out"
        )
    if config.source == "local-dir":
        path = Path(str(config.file)) / FILE
        check_file(path)
        check_config(path.with_name(CONFIG), file_sha256(path))
    elif config.source != "hf-hub" and (config.state_dict or config.file or config.url):
        _check_given_file(config)
    elif config.hf_hub_id:
        repo_id, _, revision = config.hf_hub_id.partition("@")
        file = config.hf_hub_filename or FILE
        path = fetch(repo_id, revision or None, file, cache_dir)
        commit = commit_of(path, file)
        if config.source == "hf-hub":
            _check_config_of(repo_id, commit, path, cache_dir)
        return {"hf_hub_id": f"{repo_id}@{commit}", "hf_hub_filename": file}
    else:
        arch = str(config.architecture)
        name = f"{arch}.{config.tag}" if config.tag else arch
        raise WeightsError(f"there are no weights of {name} here. {_what_there_is(arch)}")
    return {}


def _check_config_of(
    repo_id: str, commit: str, weights: Path, cache_dir: str | PathLike[str] | None
) -> None:
    """Check the config.json that timm has read, of the commit that the weights are of."""
    path, fetched_again = fetch_config(repo_id, commit, cache_dir)
    if fetched_again:
        raise WeightsError(
            f"config.json of {repo_id}@{commit} was altered in the Hub's cache, and timm had read"
            " it. It was fetched again: load the network again"
        )
    check_config(path, file_sha256(weights))


def checked_arguments(
    given: Config, pretrained: bool, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Check what a network without a tag of ours is loaded from, if that is a release.

    Args:
        given: What timm's factory passes: what it read from a config.json, or something else.
        pretrained: Whether weights are wanted.
        arguments: Those of timm's builder.

    Returns:
        The arguments of timm's builder that let it load what was checked, and check what it loads.

    Raises:
        WeightsError: They cannot be had, or were altered.
    """
    located = isinstance(given, dict) and given.get("source") in ("hf-hub", "local-dir")
    if not (pretrained and located and isinstance(given, dict)):
        return {}
    config = PretrainedCfg(**given)
    config = replace(config, **checked_source(config, arguments.get("cache_dir")))
    check = fit_check(config, bool(arguments.get("features_only")))
    return {"pretrained_cfg": config, "pretrained_filter_fn": check}


def fit_check(
    config: PretrainedCfg, features_only: bool, own: PretrainedCfg | None = None
) -> Callable[[State, nn.Module], State]:
    """Return the check that every weight fits the network before timm loads it.

    Only the classifier may be missing or of another size, and only where another number of classes
    is asked for; only the first convolution may see another number of channels.

    Args:
        config: What the weights come with.
        features_only: Whether the network is made without its classifier.
        own: The architecture's configuration; None: timm's for its name. That of ``any_kdna`` is
            its base's.
    """

    def check(state: State, network: nn.Module) -> State:
        expected = network.state_dict()
        heads = _names(config.classifier)
        head_keys = {key for key in (*expected, *state) if key.rpartition(".")[0] in heads}
        _check_classes(config, state, heads)
        new_head = features_only or network.num_classes != config.num_classes
        passed_over = {*(head_keys if new_head else ()), *_adapted_stem(config, state, expected)}
        if problems := describe_mismatch(state, expected, passed_over):
            raise WeightsError(
                f"the weights do not fit {config.architecture} with these arguments: {problems}."
                " Create it with the arguments that they were made with, or take other weights"
            )
        _check_ends(config, own or get_pretrained_cfg(str(config.architecture)))
        if unfit := what_is_not_finite(state):
            raise WeightsError(
                f"the weights of {config.architecture} have {unfit}: nobody could use them. Take"
                " others, or publish an earlier checkpoint"
            )
        return state

    return check


def _check_ends(config: PretrainedCfg, own: PretrainedCfg | None) -> None:
    """Check what timm would adapt, or leave out, by the names and numbers in a config.json."""
    for key in ("first_conv", "classifier"):
        stated, wanted = getattr(config, key), getattr(own, key, None)
        if own and _names(stated) != _names(wanted):
            raise WeightsError(
                f"the configuration of {config.architecture} states {key} {stated!r}, and the"
                f" network has {wanted!r}: they do not belong together"
            )
    if config.label_offset:
        raise WeightsError(
            f"the configuration of {config.architecture} states label_offset"
            f" {config.label_offset!r}, which would shift its classes: take it out"
        )


def _check_given_file(config: PretrainedCfg) -> None:
    """Check a file if it is one of ours; what a user gives instead is the user's to judge."""
    if config.file and not Path(config.file).is_file():
        raise WeightsError(f"there is no file {config.file}: give another, or none")
    name = f"{config.architecture}.{config.tag}"
    weights = known_weights().get(name)
    if weights and config.file and config.file == weights.source(name).get("file"):
        check_file(Path(config.file), weights)


def _check_classes(config: PretrainedCfg, state: State, heads: tuple[str, ...]) -> None:
    for name in heads:
        weight = state.get(f"{name}.weight")
        if weight is not None and len(weight) != config.num_classes:
            raise WeightsError(
                f"the configuration of {config.architecture} states {config.num_classes} classes,"
                f" and its weights have {len(weight)}: they do not belong together"
            )


def _adapted_stem(config: PretrainedCfg, state: State, own: State) -> set[str]:
    """Name the first convolutions that differ in their input channels only, which timm adapts."""
    keys = [f"{name}.weight" for name in _names(config.first_conv) if f"{name}.weight" in state]
    return {
        key
        for key in keys
        if key in own
        and state[key].shape[:1] + state[key].shape[2:] == own[key].shape[:1] + own[key].shape[2:]
    }


def _names(value: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _what_there_is(arch: str) -> str:
    """Say which tags have weights, those of the architecture first, and how to make others."""
    own, known = weights_of(arch), known_weights()
    there = [name for name, weights in known.items() if weights.source(name)]
    ours = [f"{name} ({_place(own[name])})" for name in there if name in own]
    parts = [
        f"Tags with weights: {', '.join(ours)}."
        if ours
        else f"Tags with weights: none of it; {_some(there)}."
    ]
    absent = [name for name, weights in own.items() if not weights.source(name)]
    if absent:
        parts.append(
            f"{', '.join(absent)} will lie on the Hub ({ORGANISATION}) and lies in hub/ of a"
            " checkout of kdna-zoo, which this installation is not."
        )
    if _has_recipes(arch):
        parts.append("To make weights, see `kdna-zoo recipes`.")
    return " ".join([*parts, "Without weights: pretrained=False"])


def _some(names: list[str]) -> str:
    return f"those with weights are {', '.join(names)}" if names else "there are none here"


def _place(weights: PublishedWeights) -> str:
    return f"{weights.repo_id} on the Hub" if weights.revision else "hub/ of this checkout"


def _has_recipes(arch: str) -> bool:
    try:
        return any((recipes_folder() / arch).glob("*.yaml"))
    except UserError:
        return False
