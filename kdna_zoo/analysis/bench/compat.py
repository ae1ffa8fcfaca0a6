"""Settings of the compiler that only later versions of torch have in public."""

from contextlib import AbstractContextManager
from typing import Any

import torch


def failing_past_the_recompile_limit() -> AbstractContextManager[None]:
    """Let ``torch.compile`` fail where it would run a network eagerly with no more than a warning.

    Networks of one class are recompilations of its forward, of which torch makes eight; here as
    many as it makes of all functions together.
    """
    config: Any = torch.compiler.config
    if not hasattr(config, "recompile_limit"):
        config = torch._dynamo.config
    limits = {
        "recompile_limit": config.accumulated_recompile_limit,
        "fail_on_recompile_limit_hit": True,
    }
    patch: AbstractContextManager[None] = config.patch(limits)
    return patch
