"""How many launches a child adds to a step on a GPU: counted without one, or profiled on one.

    python -m docs.launches               # a table of the named networks, counted
    python -m docs.launches --profile     # on a GPU: each launch of one child, and its time

Counted, an operator is one launch, and none if it is a view or allocates memory only; a kernel of
ours is one, and is not run. So a batch norm, which launches up to three kernels, counts as one: the
plain form's count is rather too low.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import kdna_zoo
from kdna_zoo.analysis.bench.cases import build_network
from kdna_zoo.layers import Child, ChildConv2d
from kdna_zoo.layers.kernels import attention, choice, modulation, plain_form

NAMED = ("kdna_resnet18", "kdna_resnet50", "kdna_mobilenetv2", "kdna_convnext_t")
NO_LAUNCH = {"empty", "new_empty", "empty_like", "_unsafe_view", "detach", "_reshape_alias"}


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is launched within it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operator, and run it."""
        name = func._schema.name.partition("::")[2]
        if not func.is_view and name not in NO_LAUNCH:
            self.counts[name] += 1
        return func(*args, **kwargs or {})


@contextmanager
def counting(kernels: bool) -> Iterator[Counter[str]]:
    """Count launches on the CPU, of children that run by kernels or by the plain form."""
    found = Launches()

    def launch(compiled: Any, kernel: Any, grid: Any, *args: Any) -> None:
        found.counts[f"kernel {kernel.__name__}"] += 1

    with ExitStack() as stack:
        for module, name, value in (
            (choice, "device_types", {"cpu"} if kernels else set()),
            (choice, "is_transformed_or_watched", lambda: False),  # by the count itself
            (attention, "launch", launch),
            (modulation, "launch", launch),
        ):
            stack.enter_context(patch.object(module, name, value))
        stack.enter_context(found)
        yield found.counts


def training_step(model: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """Forward and backward pass under autocast to bfloat16, in channels_last."""
    model = model.train().to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images), torch.arange(len(images)))
        loss.backward()  # type: ignore[no-untyped-call]

    return run


def added_in_training(name: str, kernels: bool) -> float:
    """Return the launches of a step beyond those of the control, for each child."""
    totals = []
    for network in (name, f"own:{name}"):
        step = training_step(build_network(network), torch.randn(4, 3, 64, 64))
        with counting(kernels) as counts:
            step()
        totals.append(counts.total())
    return (totals[0] - totals[1]) / children(name)


def added_in_inference(name: str, kernels: bool) -> float:
    """Return the launches of a fused network beyond the fused control's, for each child."""
    totals = []
    for network in (name, f"own:{name}"):
        fused = kdna_zoo.fuse(build_network(network)).to(memory_format=torch.channels_last)
        images = torch.randn(1, 3, 64, 64).to(memory_format=torch.channels_last)
        with torch.inference_mode(), counting(kernels) as counts:
            fused(images)
        totals.append(counts.total())
    return (totals[0] - totals[1]) / children(name)


def children(name: str) -> int:
    """Return how many children a network has."""
    return sum(isinstance(module, Child) for module in build_network(name).modules())


def profile(steps: int = 50) -> dict[str, Any]:
    """Profile a step of one child on a GPU, as in stage 3 of ResNet-18 at batch 128.

    Returns:
        For the convolution alone, the child by the plain form and by kernels: seconds of a step,
        and each launch's name with how often it came in a step and its seconds there.
    """
    parent = nn.Conv2d(256, 256, 3, padding=1, bias=False)
    both = nn.ModuleList([ChildConv2d(parent, padding=1), parent])
    both = both.cuda().to(memory_format=torch.channels_last)
    x = torch.randn(128, 256, 14, 14, device="cuda").to(memory_format=torch.channels_last)
    x = x.bfloat16().requires_grad_()
    found = {}
    for form, layer in (("convolution", both[1]), ("plain child", both[0]), ("child", both[0])):

        def step(layer: nn.Module = layer, plain: bool = form == "plain child") -> None:
            with plain_form() if plain else nullcontext(), torch.autocast("cuda", torch.bfloat16):
                y = layer(x)
            y.backward(y)
            both.zero_grad()
            x.grad = None

        for _ in range(10):
            step()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
        seconds = (time.perf_counter() - start) / steps
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
            step()
            torch.cuda.synchronize()
        launches = [
            {"name": event.key, "count": event.count, "seconds": event.device_time_total / 1e6}
            for event in profiler.key_averages()
            if event.device_time_total
        ]
        found[form] = {"seconds": seconds, "launches": launches}
    return found


def main(arguments: list[str]) -> int:
    """Print a count, or a profile."""
    parser = argparse.ArgumentParser(prog="python -m docs.launches", description=__doc__)
    parser.add_argument("--profile", action="store_true", help="profile one child, on a GPU")
    parser.add_argument("--json", type=Path, help="write the profile here too")
    args = parser.parse_args(arguments)
    if not args.profile:
        print("| network | children | training: plain | kernels | fused: plain | kernels |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for name in NAMED:
            numbers = [
                added(name, kernels)
                for added in (added_in_training, added_in_inference)
                for kernels in (False, True)
            ]
            print(f"| `{name}` | {children(name)} | {' | '.join(f'{n:g}' for n in numbers)} |")
        return 0
    if not torch.cuda.is_available():
        print("torch finds no CUDA device on this machine; a profile needs one", file=sys.stderr)
        return 2
    found = profile()
    for form, what in found.items():
        count = sum(launch["count"] for launch in what["launches"])
        print(f"{form}: {1e6 * what['seconds']:.0f} us a step, {count} launches")
        for launch in what["launches"]:
            print(f"  {launch['count']:3} x {1e6 * launch['seconds']:8.1f} us  {launch['name']}")
    if args.json:
        data = {
            "format": "docs.launches",
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            **found,
        }
        args.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
