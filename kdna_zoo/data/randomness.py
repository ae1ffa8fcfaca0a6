"""The random states of Python, NumPy and torch: seeded, kept and put back together."""

import os
import random
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def run_seed() -> int:
    """Return the seed that Lightning's ``seed_everything`` was given, or else a random one."""
    given = os.environ.get("PL_GLOBAL_SEED")
    return int(given) if given is not None else secrets.randbits(32)


def seed_all(seed: int) -> None:
    """Seed the three generators that transforms draw from; in a few microseconds.

    Args:
        seed: At least 0 and below 2**32.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed visits each device as well


def random_state() -> dict[str, Any]:
    """Return the states as types that ``torch.load(weights_only=True)`` reads."""
    name, keys, *rest = np.random.get_state()
    numpy_state = (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest)
    state = {"python": random.getstate(), "numpy": numpy_state, "torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put back what `random_state` gave."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Put the states back after the block, so that what it draws is nobody else's matter."""
    python, numpy_state, torch_state = (
        random.getstate(),
        np.random.get_state(),
        torch.get_rng_state(),
    )
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
