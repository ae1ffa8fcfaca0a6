"""Kinds and versions of what this package writes: who writes one says them, readers check them."""

from collections.abc import Mapping
from typing import Any

from kdna_zoo.errors import UserError

RECORD_FORMAT = 1  # of the record that training leaves under ``checkpoint["kdna_zoo"]``
RESULT, RESULT_FORMAT = "result.json", 1  # what a finished run leaves in its folder
MANIFEST_FORMAT = 1  # of weights.json

BENCH, LOADERS, COMPARE, CKA, CONVERT = (
    "kdna-zoo bench",
    "kdna-zoo bench --data",
    "kdna-zoo compare",
    "kdna-zoo cka",
    "kdna-zoo convert",
)
VERSIONS = {BENCH: 1, LOADERS: 1, COMPARE: 1, CKA: 1, CONVERT: 1}


def mark(kind: str) -> dict[str, Any]:
    """Return the first entries of a file of this kind."""
    return {"format": kind, "version": VERSIONS[kind]}


def kind_of(data: Any) -> str | None:
    """Return the kind of what a file holds; None if it is no file of figures."""
    found = data.get("format") if isinstance(data, Mapping) else None
    return found if found in VERSIONS else None


def check_version(data: Mapping[str, Any], origin: str) -> None:
    """See that a file is of the version that this package reads.

    Args:
        data: What the file holds; `kind_of` it is known.
        origin: Where it comes from, for the message.

    Raises:
        UserError: If it is of another version.
    """
    version, known = data.get("version"), VERSIONS[data["format"]]
    if version != known:
        raise UserError(
            f"{origin} is of version {version!r}, and this kdna-zoo reads version {known}: measure"
            " again, or use the kdna-zoo that wrote it"
        )
