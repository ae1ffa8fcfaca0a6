"""Data modules on Hugging Face `datasets`, with timm's transforms; knows no model.

`ImageData` is imported when it is asked for: reading one picture needs neither Lightning nor
`datasets`.
"""

from typing import TYPE_CHECKING, Any

from kdna_zoo.data.options import (
    ColumnOptions,
    LoaderOptions,
    PreprocessOptions,
    SourceOptions,
)

if TYPE_CHECKING:
    from kdna_zoo.data.module import ImageData

__all__ = [
    "ColumnOptions",
    "ImageData",
    "LoaderOptions",
    "PreprocessOptions",
    "SourceOptions",
]


def __getattr__(name: str) -> Any:
    if name != "ImageData":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kdna_zoo.data.module import ImageData

    return ImageData
