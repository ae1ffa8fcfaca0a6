"""Compile, for a GPU that is not there, every kernel that training and inference of networks launch.

    python -m tests.layers.kernels.ahead CAPABILITY NETWORK...

The networks take a step on the CPU with a driver that compiles as for a GPU of that capability and
launches nothing, so that the kernels, their arguments and the compiler's options are those of a
GPU; the numbers mean nothing. Prints each kernel's name, what Triton took as constant and the size
of its machine code, as JSON. Needs Triton with its own ptxas, and no interpreter.
"""

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

os.environ["TRITON_INTERPRET"] = "0"

import timm
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

import kdna_zoo
from kdna_zoo.layers.kernels import choice


class NoDriver:
    """What Triton asks of a driver, of a GPU of a capability such as 90 with its shared memory."""

    def __init__(self, capability: int) -> None:
        self.compiled: list[dict[str, Any]] = []
        self.target = GPUTarget("cuda", capability, 32)
        shared = {80: 166912, 90: 232448}[capability]
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": shared},
            load_binary=lambda *args: (0, 0, 0, 0, 1024),
            unload_module=lambda module: None,
        )

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        """Take down a kernel that was compiled, and launch nothing."""
        self.compiled.append({"name": metadata.name, "shared": metadata.shared})
        return lambda *args: None

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def main(capability: int, names: list[str]) -> None:
    found = NoDriver(capability)
    driver.set_active(found)
    choice.device_types.add("cpu")
    torch.manual_seed(0)
    for name in names:
        model = timm.create_model(name)
        for memory_format in (torch.channels_last, torch.contiguous_format):
            images = torch.randn(4, 3, 64, 64).to(memory_format=memory_format)
            model.to(memory_format=memory_format)
            for mixed in (torch.bfloat16, torch.float16, None):
                with torch.autocast("cpu", mixed, enabled=mixed is not None):
                    loss = model.train()(images).square().mean()
                loss.backward()
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            fused = kdna_zoo.fuse(model).to(dtype)
            with torch.inference_mode():
                fused(images[:1].to(dtype))
                model.eval()(images[:1])
        model.double().train()(images.double()).sum().backward()
    assert not choice._failed
    print(json.dumps(found.compiled))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
