"""Reads a training checkpoint back into the network that was trained.

A checkpoint is what Lightning's Trainer saves, plus the record that training adds (see record.py).
It is read with ``weights_only=True``: a file that would run code is refused. Where Lightning's
WeightAveraging callback ran, the averaged weights lie in ``state_dict`` and the live ones in
``current_model_state``, and it is the averaged ones that validation measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import timm
from torch import Tensor, nn

from kdna_zoo.errors import UserError, did_you_mean
from kdna_zoo.records.checkpoints import describe_mismatch, open_checkpoint
from kdna_zoo.records.record import Record, parse_record

WeightKind = Literal["raw", "ema"]
PREFIX = "model."  # the name under which the Lightning module holds its network


@dataclass(frozen=True)
class TrainedModel:
    """A trained network in eval mode, with the record of its training.

    Attributes:
        model: The network, as `timm.create_model` builds it.
        record: What training wrote down; without metrics where these weights were not measured.
        weights: Which weights of the checkpoint these are.
        averaged: Whether the run averaged its weights, so that both kinds exist.
    """

    model: nn.Module
    record: Record
    weights: WeightKind
    averaged: bool


def read_checkpoint(path: str | PathLike[str], weights: WeightKind = "raw") -> TrainedModel:
    """Read the network and the record from a checkpoint of kdna-zoo.

    Args:
        path: A .ckpt file.
        weights: "raw" for the weights that the optimizer moved, "ema" for their running average.

    Raises:
        UserError: The file cannot be used; the message says why and what to do.
    """
    path = Path(path)
    checkpoint = open_checkpoint(path)
    try:
        record = _record(checkpoint)
        averaged = "current_model_state" in checkpoint
        model = _build(record)
        _fill(model, _choose(checkpoint, weights, averaged), record)
    except UserError as error:
        raise UserError(f"cannot use {path}: {error}") from error
    if averaged and weights == "raw":
        record = replace(record, metrics=None)
    return TrainedModel(model.eval(), record, weights, averaged)


def _record(checkpoint: Mapping[str, Any]) -> Record:
    if "kdna_zoo" not in checkpoint:
        raise UserError(
            "it has no 'kdna_zoo' record, so kdna-zoo did not train it."
            " Give a .ckpt file that `kdna-zoo fit` wrote."
        )
    return parse_record(checkpoint["kdna_zoo"])


def _choose(
    checkpoint: Mapping[str, Any], weights: WeightKind, averaged: bool
) -> dict[str, Tensor]:
    """Pick the asked-for weights and take the Lightning module's prefix off their names."""
    if weights not in ("raw", "ema"):
        raise UserError(f"no such weights: {weights!r}. Choose raw or ema.")
    if weights == "ema":
        _check_average(checkpoint, averaged)
    key = "current_model_state" if averaged and weights == "raw" else "state_dict"
    state = checkpoint[key]
    return {name.removeprefix(PREFIX): state[name] for name in state if name.startswith(PREFIX)}


def _check_average(checkpoint: Mapping[str, Any], averaged: bool) -> None:
    if not averaged:
        raise UserError(
            "it has no averaged (EMA) weights. Ask for raw weights, or train with Lightning's"
            " EMAWeightAveraging callback."
        )
    if int(checkpoint.get("averaging_state", {}).get("n_averaged", 1)) == 0:
        raise UserError(
            "its averaged (EMA) weights were never updated: they are those the run started from."
            " Ask for raw weights, or let the averaging start earlier."
        )


def _build(record: Record) -> nn.Module:
    """Create the network that the record names, with fresh weights."""
    if not timm.is_model(record.arch):
        hint = did_you_mean(record.arch, timm.list_models(), "timm.list_models() lists them all")
        raise UserError(
            f"timm knows no architecture {record.arch!r}; {hint} If it is your own, import the"
            " module that registers it."
        )
    arguments = {**record.arch_args, "num_classes": record.num_classes, "pretrained": False}
    try:
        model: nn.Module = timm.create_model(record.arch, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{record.arch} cannot be built with the arguments in the record,"
            f" {record.arch_args}: {error}.{_trained_with(record)}"
        ) from error
    return model


def _fill(model: nn.Module, state: dict[str, Tensor], record: Record) -> None:
    """Load the weights; each one must be there, be known and have the right shape."""
    problems = describe_mismatch(state, model.state_dict())
    if problems:
        raise UserError(
            f"its weights do not fit the architecture in its record, {record.arch}"
            f" with {record.num_classes} classes: {problems}.{_trained_with(record)}"
        )
    model.load_state_dict(state, strict=True)


def _trained_with(record: Record) -> str:
    version = record.run.versions.get("kdna_zoo", "unknown")
    return f" It was trained with kdna-zoo {version}: use that version, or the right checkpoint."
