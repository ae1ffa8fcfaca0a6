"""Compile, for GPUs that are not there, every kernel that children launch.

    python -m tests.layers.kernels.ahead 80 90

Children take steps on the CPU with a driver that compiles as for a GPU of a capability, 8.0 and 9.0
here, and launches nothing, so that kernels, arguments and the compiler's options are those of a
GPU; the numbers mean nothing. Prints for each capability each kernel's name, its shared memory and
the size of its machine code, in bytes, as JSON.
"""

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

os.environ["TRITON_INTERPRET"] = "0"

import torch
from torch import nn
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from kdna_zoo.layers import ChildConv2d, ChildLinear
from kdna_zoo.layers.kernels import attention_plan, choice, modulation


class NoDriver:
    """What Triton asks of a driver, of a GPU of a capability such as 90 with its shared memory."""

    def __init__(self, capability: int) -> None:
        self.compiled: list[dict[str, Any]] = []
        self.target = GPUTarget("cuda", capability, 32)
        shared = {80: 166912, 90: 232448}[capability]
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": shared},
            load_binary=self.load_binary,
            unload_module=lambda module: None,
        )

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        """Launch nothing."""
        return lambda *args: None

    def load_binary(self, name: str, code: bytes, shared: int, device: int) -> tuple[int, ...]:
        """Take down a kernel that was compiled."""
        self.compiled.append({"name": name, "shared": shared, "code": len(code)})
        return 0, 0, 0, 0, 1024

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return int(self.target.arch)  # kernels are kept for each device

    def get_current_stream(self, device: int) -> int:
        return 0


def convolution(size: int) -> tuple[nn.Module, torch.Tensor]:
    """A child convolution with a batch norm, and a map in channels_last."""
    parent = nn.Conv2d(256, 256, size, padding=size // 2, bias=False)
    child = ChildConv2d(parent, padding=size // 2)
    both = nn.ModuleList([child, parent]).to(memory_format=torch.channels_last)
    return both, torch.randn(4, 256, 7, 7).to(memory_format=torch.channels_last)


def linear() -> tuple[nn.Module, torch.Tensor]:
    """A child linear layer with a layer norm, and a map."""
    parent = nn.Linear(96, 96)
    return nn.ModuleList([ChildLinear(parent, norm="layer"), parent]), torch.randn(4, 7, 7, 96)


def train(both: Any, x: torch.Tensor, mixed: torch.dtype | None) -> None:
    """Take a step."""
    with torch.autocast("cpu", mixed, enabled=mixed is not None):
        y = both[0].train()(x.requires_grad_())
    y.sum().backward()


def infer(both: Any, x: torch.Tensor, dtype: torch.dtype) -> None:
    """Run a child, and its fused form, for one image."""
    child, x = both.to(dtype)[0].eval(), x[:1].detach().to(dtype)
    with torch.inference_mode():
        child(x), child.fuse()(x)


def main(capabilities: list[int]) -> None:
    choice.device_types.add("cpu")
    found = {}
    for capability in capabilities:
        attention_plan._plans.clear()
        modulation._plans.clear()
        here = NoDriver(capability)
        driver.set_active(here)
        train(*convolution(3), torch.bfloat16)
        train(*convolution(1), torch.float16)
        train(*linear(), None)
        both, x = convolution(3)
        train(both.double(), x.double(), None)
        infer(*convolution(3), torch.bfloat16)
        infer(*linear(), torch.float16)
        found[capability] = here.compiled
    assert not choice._failed
    print(json.dumps(found))


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
