"""What `kdna-zoo models` says of our own networks, counted beforehand: torch need not be imported.

``python -m docs.generate`` counts them and writes ``networks.json`` beside this file.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from kdna_zoo.paths import published_folder

TABLE = Path(__file__).with_name("networks.json")
MANIFEST = Path(__file__).parents[1] / "models" / "weights.json"


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: The registered name.
        parameters: With 1,000 classes, or as many as the name stands for.
        own_kernels: Those of the same network with a kernel of its own in each layer.
        base: timm's name of the base; None for a network that shares nothing.
        base_parameters: Those of timm's base.
        macs: Multiply-adds for one image.
        input_size: The image's channels, height and width.
        weights: Tags of the weights there are.
    """

    name: str
    parameters: int
    own_kernels: int
    base: str | None
    base_parameters: int | None
    macs: int
    input_size: tuple[int, ...]
    weights: tuple[str, ...]


def read_table() -> list[Row]:
    """Return the rows that are written down; none if the tags there are now are others."""
    rows = [Row(**entry) for entry in json.loads(TABLE.read_text(encoding="utf-8"))]
    entries = json.loads(MANIFEST.read_text(encoding="utf-8"))["weights"]
    there = {n for n, e in entries.items() if e["revision"] or published_folder(n)}
    named = {tag for row in rows for tag in row.weights}
    return rows if named == there else []


def write_down(rows: Iterable[Row]) -> str:
    """Return the content of the file."""
    return json.dumps([asdict(row) for row in rows], indent=1) + "\n"
