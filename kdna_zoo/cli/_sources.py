"""The trained network that a command begins from: by name, by folder, or from a checkpoint."""

import argparse
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from torch import Tensor, nn

from kdna_zoo.cli.classify import class_names
from kdna_zoo.data.transforms import input_channels, resolve_config
from kdna_zoo.errors import UserError
from kdna_zoo.models.creation import check_name, create_network
from kdna_zoo.models.fetch import file_sha256
from kdna_zoo.models.weights import FILE
from kdna_zoo.records.checkpoints import describe_mismatch, open_checkpoint
from kdna_zoo.records.record import DATA_CONFIG_KEYS
from kdna_zoo.release.checkpoint import read_checkpoint

PREFIXES = ("model.", "module.", "")  # of Lightning modules, of DistributedDataParallel, of none


@dataclass(frozen=True)
class Source:
    """A trained network and what is known of its weights.

    Attributes:
        network: In eval mode.
        name: What it is called, for a reader.
        sha256: Of the file of weights, or where there is none, of their names and values.
        license: Identifier of the Hub; None if nobody says.
        repository: Where the weights lie on the Hub, if there.
        label_names: Names of the classes.
        data_config: How an image becomes the input.
    """

    network: nn.Module
    name: str
    sha256: str
    license: str | None
    repository: str | None
    label_names: list[str]
    data_config: dict[str, Any]


def open_trained(given: str, arch: str | None, weights: Any = "raw") -> Source:
    """Open a trained network.

    Args:
        given: A name for timm, ``hf-hub:``, ``local-dir:``, or the file of a checkpoint.
        arch: timm's name of the network in a checkpoint that does not say it.
        weights: ``"raw"`` or ``"ema"`` of a checkpoint of kdna-zoo.

    Raises:
        UserError: If there is no such network, or it cannot be read.
    """
    path = Path(given)
    if path.is_file():
        return _from_checkpoint(path, arch, weights)
    if arch:
        raise UserError(f"--arch is for the file of a checkpoint, and there is no file {given}")
    if path.suffix in (".ckpt", ".pth", ".pt", ".tar", ".safetensors"):
        raise UserError(f"there is no file {given}: give a checkpoint, or the name of a network")
    check_name(given)
    network = create_network(given, pretrained=True).eval()
    config: Any = network.pretrained_cfg
    repository = None if given.startswith("local-dir:") else config.get("hf_hub_id")
    tag = config.get("tag")
    name = given if ":" in given or "." in given or not tag else f"{given}.{tag}"
    return _source(
        network, name, _digest(given, config, network), config.get("license"), repository
    )


def _from_checkpoint(path: Path, arch: str | None, weights: Any) -> Source:
    with torch.serialization.safe_globals([argparse.Namespace]):  # timm's own: plain values
        checkpoint: Mapping[str, Any] = (
            {"state_dict": _safetensors(path)}
            if path.suffix == ".safetensors"
            else open_checkpoint(path)
        )
        if "kdna_zoo" in checkpoint:
            trained = read_checkpoint(path, weights)
            record = trained.record
            found = _source(trained.model, path.name, file_sha256(path), None, record.base_model)
            config = dict(record.data_config)
            return replace(found, label_names=record.label_names, data_config=config)
    name = arch or checkpoint.get("arch")
    if not isinstance(name, str):
        raise UserError(
            f"{path} does not say which network its weights are of: give timm's name of it, as in "
            "--arch resnet50"
        )
    check_name(name)
    state: dict[str, Tensor] = dict(checkpoint["state_dict"])
    prefix = next(p for p in PREFIXES if any(key.startswith(p) for key in state))
    state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    network = create_network(name, False, **_made_with(checkpoint, name, state)).eval()
    if problem := describe_mismatch(state, network.state_dict()):
        raise UserError(f"the weights in {path} are not those of {name}: {problem}")
    network.load_state_dict(state)
    return _source(network, path.name, file_sha256(path), None, None)


def _made_with(
    checkpoint: Mapping[str, Any], name: str, state: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return the arguments of a network that timm's training script trained."""
    given: Any = getattr(checkpoint.get("args"), "model_kwargs", None) or {}
    return {**_size_of_head(name, state), **dict(given)}


def _size_of_head(name: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the number of classes that a state has, by the classifier's name."""
    config: Any = timm.get_pretrained_cfg(name)
    head = config.classifier if config else None
    weight = state.get(f"{head}.weight") if isinstance(head, str) else None
    return {} if weight is None else {"num_classes": len(weight)}


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is cut off or no safetensors file ({error})") from error


def _source(
    network: nn.Module, name: str, sha256: str, license: str | None, repository: str | None
) -> Source:
    own: Any = network.pretrained_cfg
    config = resolve_config(dict.fromkeys(DATA_CONFIG_KEYS), dict(own), input_channels(network))
    return Source(
        network,
        name,
        sha256,
        license,
        repository,
        _names_of(network),
        {key: config[key] for key in DATA_CONFIG_KEYS},
    )


def _names_of(network: nn.Module) -> list[str]:
    """Return a name for each class that the network has, whatever its configuration says."""
    classes: Any = getattr(network, "num_classes", None)
    names = class_names(network)
    return names if classes in (None, len(names)) else [f"class {i}" for i in range(classes)]


def _digest(given: str, config: Mapping[str, Any], network: nn.Module) -> str:
    """Return the sha256 of the file of weights, or of what they are if no file can be named."""
    if given.startswith("local-dir:"):
        return file_sha256(Path(given.partition(":")[2]) / FILE)
    repository = str(config.get("hf_hub_id") or "").partition("@")
    file = config.get("hf_hub_filename") or FILE
    cached = (
        try_to_load_from_cache(repository[0], file, revision=repository[2] or None)
        if repository[0]
        else None
    )
    if isinstance(cached, str):
        return file_sha256(Path(cached))
    if config.get("file") and Path(str(config["file"])).is_file():
        return file_sha256(Path(str(config["file"])))
    digest = hashlib.sha256()
    for key, tensor in network.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
