"""What a training step or an inference launches on a GPU, counted without one.

An operator counts as one launch, and as none if it is a view or allocates memory only; a kernel of
ours counts as one, and is not run. So a batch norm, which launches up to three kernels, counts as
one: the plain form's count is rather too low.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from kdna_zoo.layers.kernels import attention, choice, modulation

NO_LAUNCH = {"empty", "new_empty", "empty_like", "_unsafe_view", "detach", "_reshape_alias"}


class Launches(TorchDispatchMode):
    """Counts what is launched within it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        if not func.is_view and name not in NO_LAUNCH:
            self.counts[name] += 1
        return func(*args, **kwargs or {})


@contextmanager
def counting(kernels: bool) -> Any:
    """Count launches, with children that run by kernels or by the plain form."""
    found = Launches()

    def launch(compiled: Any, kernel: Any, grid: Any, *args: Any) -> None:
        found.counts[f"kernel {kernel.__name__}"] += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "device_types", {"cpu"} if kernels else set())
        patch.setattr(choice, "is_transformed_or_watched", lambda: False)  # the count itself
        patch.setattr(attention, "launch", launch)
        patch.setattr(modulation, "launch", launch)
        with found:
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
