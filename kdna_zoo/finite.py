"""Weights that are no numbers: what a diverged training leaves, and a damaged file may hold."""

from collections.abc import Mapping

from torch import Tensor

SHOWN = 3  # this many are named


def what_is_not_finite(state: Mapping[str, Tensor]) -> str:
    """Say which weights hold NaN or infinity; empty if none does.

    Args:
        state: The weights, by key.
    """
    keys = [
        repr(key)
        for key, tensor in state.items()
        if (tensor.is_floating_point() or tensor.is_complex())
        and not tensor.is_meta
        and not tensor.isfinite().all()
    ]
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"NaN or infinity in {', '.join(keys[:SHOWN])}{more}" if keys else ""
