"""A progress bar that says what a conversion is at."""

from types import TracebackType
from typing import Any

from tqdm.auto import tqdm  # type: ignore[import-untyped]  # comes with huggingface_hub


class Progress:
    """One bar, begun anew for each step and gone at the end.

    Args:
        shown: Whether to show it; None: if this is a terminal.
    """

    def __init__(self, shown: bool | None = None) -> None:
        self._disable = None if shown is None else not shown
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def begin(self, text: str, total: int | None, unit: str = " images") -> None:
        """Begin a step of so many units."""
        self._close()
        self._bar = tqdm(
            total=total or None, desc=text, unit=unit, leave=False, disable=self._disable
        )

    def say(self, text: str) -> None:
        """Say what is being worked at."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def advance(self, by: int = 1) -> None:
        """Say that so many units are done."""
        if self._bar is not None:
            self._bar.update(by)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
