"""Keeps out of a run's output what Lightning says there of other products."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

TIP = "\N{ELECTRIC LIGHT BULB} Tip: "


@contextmanager
def without_tips() -> Iterator[None]:
    """Leave out Lightning's tips within the block."""
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    log.addFilter(_is_no_tip)
    try:
        yield
    finally:
        log.removeFilter(_is_no_tip)


def _is_no_tip(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(TIP)
