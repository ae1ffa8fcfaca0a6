"""What a network costs beside its base and beside itself with kernels of its own."""

from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn

from kdna_zoo.models.macs import count_macs
from kdna_zoo.records.record import Record


@dataclass(frozen=True)
class Cost:
    """One network's parameters and multiply-adds."""

    name: str
    parameters: int
    macs: int


def compare_costs(model: nn.Module, record: Record) -> list[Cost]:
    """Count a KernelDNA network, the same with kernels of its own, and timm's base.

    Args:
        model: A network with a sharing plan.
        record: Its record; all are counted with its classes and at its input size.
    """
    arch: Any = model.base_arch
    own: Any = model.base_args
    classes = {"num_classes": record.num_classes, "in_chans": record.data_config["input_size"][0]}
    made = {
        f"`{record.arch}`": (record.arch, {**record.arch_args, **classes}),
        "the same with a kernel of its own in each layer": (arch, own),
        f"timm's `{arch}`": (arch, classes),
    }
    return [_cost(name, *made[name], record) for name in made]


def _cost(name: str, arch: str, arguments: dict[str, Any], record: Record) -> Cost:
    with torch.device("meta"):  # takes no memory and no time
        model = timm.create_model(arch, **arguments).eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(name, parameters, count_macs(model, record.data_config["input_size"]))
