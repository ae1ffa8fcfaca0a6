"""Where kernels run in these tests: on a GPU if there is one, else in Triton's interpreter."""

from collections.abc import Iterator

import pytest
import torch

from kdna_zoo.layers.kernels import choice

pytest.importorskip("triton")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A device on which kernels run, and have not failed; a warning that they have is an error."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    monkeypatch.setattr(choice, "device_types", {device})
    monkeypatch.setattr(choice, "_failed", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # of what is compared
    choice._is_able.cache_clear()
    yield device
    choice._is_able.cache_clear()
