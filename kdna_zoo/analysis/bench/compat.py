"""What the bench sets of torch's private parts, in one place and for a time.

`tests/analysis/test_compat.py` fails on the day torch has it in public, or has changed it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def failing_past_the_recompile_limit() -> Iterator[None]:
    """Let ``torch.compile`` fail where it would run a network eagerly with no more than a warning.

    Networks of one class are recompilations of its forward, of which torch makes eight; here as
    many as it makes of all functions together. ``torch.compiler`` has no such setting.
    """
    config = torch._dynamo.config
    with config.patch(
        recompile_limit=config.accumulated_recompile_limit, fail_on_recompile_limit_hit=True
    ):
        yield
