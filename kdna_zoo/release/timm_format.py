"""The network as timm loads it: model.safetensors and config.json, and the check that it does."""

import copy
import json
import shutil
from itertools import chain
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import save_for_hf
from torch import nn

from kdna_zoo.errors import RunError, UserError
from kdna_zoo.finite import what_is_not_finite
from kdna_zoo.models.fetch import file_sha256
from kdna_zoo.models.published import CONFIG, CONFIG_KEY, own_arguments
from kdna_zoo.models.weights import FILE
from kdna_zoo.records.record import DATA_CONFIG_KEYS, Record

# What the architecture itself says. All else in a timm network's pretrained_cfg tells of weights
# that others published under that name: their tag, licence, origin and test settings.
OF_THE_ARCHITECTURE = (
    "architecture",
    "input_size",
    "min_input_size",
    "fixed_input_size",
    "num_classes",
    "pool_size",
    "first_conv",
    "classifier",
)


def export_timm(
    model: nn.Module, record: Record, folder: Path, tag: str, license: str, half: bool = False
) -> None:
    """Write model.safetensors and config.json with timm's own export, and check the two.

    Args:
        model: The trained network, in any memory format.
        record: Its record: label names and input preprocessing come from here.
        folder: An existing folder.
        tag: Names these weights among others of the architecture, as timm's tags do.
        license: Licence of the weights, as an identifier of the Hub.
        half: Round the weights to half precision, for a file of half the size.

    Raises:
        UserError: The network gives no finite output, so nobody could use it.
        RunError: What timm loads is not what was trained.
    """
    check_finite(model, record.arch)
    plain = _plain_copy(model, half)
    if half and (unfit := what_is_not_finite(plain.state_dict())):
        raise UserError(f"rounded to half precision there is {unfit}: publish without --half")
    source = cast(dict[str, Any], model.pretrained_cfg)
    config = {key: source[key] for key in OF_THE_ARCHITECTURE if key in source}
    plain.pretrained_cfg = {**config, "tag": tag, "license": license}  # type: ignore[assignment]
    save_for_hf(
        plain.half() if half else plain,
        str(folder),
        safe_serialization=True,
        data_config=dict(record.data_config),
        model_config={"label_names": list(record.label_names)},
    )
    # safetensors makes its file private to its owner: give it the access that any new file has
    shutil.copymode(folder / "config.json", folder / FILE)
    seal_config(folder)
    _check_reload(plain.float(), record, folder)


def check_finite(model: nn.Module, arch: str) -> None:
    """Check that no weight of a network is NaN or infinity.

    Raises:
        UserError: If one is.
    """
    if unfit := what_is_not_finite(model.state_dict()):
        raise UserError(
            f"the trained {arch} has {unfit}: its training diverged. Publish an earlier checkpoint,"
            " or train with a lower learning rate."
        )


def seal_config(folder: Path) -> None:
    """Let config.json state what the file of weights is; timm passes it over, we check it.

    The number of classes is stated once, above the network's other arguments: transformers takes
    it from there, and refuses to be given it again.
    """
    config, weights = folder / CONFIG, folder / FILE
    content = json.loads(config.read_text(encoding="utf-8"))
    content["model_args"] = own_arguments(content)
    content[CONFIG_KEY] = {"sha256": file_sha256(weights), "size": weights.stat().st_size}
    config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _plain_copy(model: nn.Module, half: bool) -> nn.Module:
    """Return a copy on the CPU with the memory layout that a freshly loaded network has.

    safetensors takes contiguous tensors only. A 1x1 kernel counts as contiguous in channels_last
    too, but is computed with differently, down to the last bit; hence the clone in any case.
    """
    plain = copy.deepcopy(model).cpu().eval()
    for tensor in chain(plain.parameters(), plain.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
        if half and tensor.is_floating_point():
            tensor.data = tensor.data.half().float()
    return plain


def _check_reload(model: nn.Module, record: Record, folder: Path) -> None:
    """Load the folder through timm; it must compute what the trained network computes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *record.data_config["input_size"], generator=generator)  # (N, C, H, W)
    reloaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        trained_logits, logits = model(images), reloaded(images)  # (N, classes)
    if not trained_logits.isfinite().all():
        raise UserError(
            f"the trained {record.arch} gives NaN or infinity on ordinary input: its training"
            " diverged. Publish an earlier checkpoint, or train with a lower learning rate."
        )
    if not torch.equal(trained_logits, logits):
        raise RunError(
            f"nothing was published: {record.arch} loaded again through timm gives other logits"
            " than the trained network"
        )
    _check_preprocessing(resolve_model_data_config(reloaded), record)  # type: ignore[no-untyped-call]


def _check_preprocessing(resolved: dict[str, Any], record: Record) -> None:
    for key in DATA_CONFIG_KEYS:
        trained, loaded = record.data_config[key], resolved[key]
        if _comparable(trained) != _comparable(loaded):
            raise RunError(
                f"nothing was published: timm resolves {key} to {loaded}, trained was {trained}"
            )


def _comparable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
