"""What data a model was made with, as checkpoints and model cards keep it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdna_zoo.data.source import Source


def describe_data(
    source: Source, path: str | None, sizes: Mapping[str, tuple[str, int | None]]
) -> dict[str, Any]:
    """Say what the data is, as plain JSON types.

    Args:
        source: The data set.
        path: Where the user said it is.
        sizes: For ``train``, and ``val`` where there is one, the split and its number of images.
    """
    card, local = source.card, source.hub_id is None
    licence = card.get("license")
    splits = {role: {"split": split, "images": images} for role, (split, images) in sizes.items()}
    return {
        "name": str(card.get("pretty_name") or Path(str(path)).resolve().name),
        "path": path if local else None,
        "hub_id": source.hub_id,
        "revision": source.revision,
        "license": ", ".join(licence) if isinstance(licence, list) else licence,
        "sources": [str(name) for name in card.get("source_datasets") or []],
        "train": splits["train"],
        "val": splits.get("val"),
    }
