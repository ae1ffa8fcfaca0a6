"""Linear CKA between the layers of one network, or of two, over any number of images.

Source: centred kernel alignment, Kornblith et al. 2019 (arXiv 1905.00414), estimated without bias
from mini-batches as in Nguyen et al. 2021 (arXiv 2010.15327). KernelDNA (arXiv 2503.23379) shows
with it that layers are alike (Figure 1), and how a network compares with its KernelDNA version
(Figure 5). What is compared is the layer's output for the whole image, all positions side by side.

Memory does not grow with the number of images: it is that of a forward pass, one (N, N) matrix in
float64 for each layer, and the sums. A last batch that is incomplete counts by its images; a batch
of fewer than four is left out, as the estimate is not defined for it.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdna_zoo.analysis.cka.hsic import SMALLEST_BATCH, HsicSums
from kdna_zoo.analysis.cka.layer_outputs import FeatureExtractor
from kdna_zoo.errors import UserError
from kdna_zoo.records.formats import CKA, check_version, kind_of, mark


@dataclass(frozen=True, eq=False)
class Cka:
    """How alike the layers of two networks are, or of one with itself.

    Attributes:
        networks: What the two are called; twice the same for one with itself.
        rows: Layers of the first, by module path.
        columns: Layers of the second.
        matrix: (rows, columns) in float64: 1 is the same up to an orthogonal transform and a
            scale, 0 is unrelated (an unbiased estimate can be a little below). NaN where a layer
            gives the same for all images.
        images: Images compared.
        batch_size: Images in a whole batch.
        about: What else the values depend on, in words: which images, which weights.
    """

    networks: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    matrix: Tensor
    images: int
    batch_size: int
    about: str = ""

    @property
    def is_of_one(self) -> bool:
        """Whether a network is compared with itself."""
        return self.networks[0] == self.networks[1] and self.rows == self.columns

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types; None in place of NaN."""
        return {
            **mark(CKA),
            "networks": list(self.networks),
            "about": self.about,
            "images": self.images,
            "batch_size": self.batch_size,
            "rows": list(self.rows),
            "columns": list(self.columns),
            "matrix": [[v if isfinite(v) else None for v in row] for row in self.matrix.tolist()],
        }

    @classmethod
    def from_dict(cls, data: Any, origin: str = "this") -> "Cka":
        """Make what `to_dict` wrote; other keys are passed over.

        Args:
            data: Plain JSON types.
            origin: Where it comes from, for messages.

        Raises:
            UserError: If it is something else, of another version, or incomplete.
        """
        if kind_of(data) != CKA:
            raise UserError(f"{origin} is not what `kdna-zoo cka` writes beside its picture")
        check_version(data, origin)
        try:
            values = [[nan if v is None else float(v) for v in row] for row in data["matrix"]]
            first, second = data["networks"]
            rows, columns = tuple(data["rows"]), tuple(data["columns"])
            matrix = torch.tensor(values, dtype=torch.float64).reshape(len(rows), len(columns))
            images, batch_size = int(data["images"]), int(data["batch_size"])
            about = str(data["about"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{origin} is incomplete or damaged: {error}; measure again") from error
        return cls((first, second), rows, columns, matrix, images, batch_size, about)


def read_cka(file: Path) -> Cka:
    """Read the JSON file that `kdna-zoo cka` writes.

    Raises:
        UserError: If it cannot be read, or is something else.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:  # no JSON, or no text
        raise UserError(f"{file} is no JSON file: {error}") from error
    return Cka.from_dict(data, str(file))


def measure_cka(
    model: nn.Module,
    batches: Iterable[Any],
    layers: Sequence[str] | None = None,
    other: nn.Module | None = None,
    other_layers: Sequence[str] | None = None,
    names: tuple[str, str] | None = None,
    about: str = "",
) -> Cka:
    """Compare all chosen layers over a data loader.

    The networks run in eval mode, whatever mode they are in, and are left as they were.

    Args:
        model: Any network.
        batches: Batches of images (N, C, H, W), or tuples that begin with one. Larger batches give
            a surer estimate from as many images.
        layers: Module paths or patterns, see `choose_layers`; None: its own choice, of those that
            run.
        other: A second network to compare with, on the same images; None: the first with itself.
        other_layers: Its layers.
        names: What the networks are called; None: by their classes.
        about: Kept with the values, see `Cka`.

    Raises:
        UserError: If there is no batch of four images, a layer cannot be compared, or no layer
            tells one image from another.
    """
    names = names or (type(model).__name__, type(other or model).__name__)
    first = FeatureExtractor(model, layers, names[0])
    second = FeatureExtractor(other, other_layers, names[1]) if other is not None else first
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    sums, largest = HsicSums(), 0
    with ExitStack() as stack:
        for grams in dict.fromkeys((first, second)):
            stack.enter_context(grams.watching())
        for batch in batches:
            images = batch[0] if isinstance(batch, (tuple, list)) else batch
            largest = max(largest, len(images))
            if len(images) < SMALLEST_BATCH:
                continue
            images = images.to(device)
            rows = first.of(images)
            sums.add(rows, rows if second is first else second.of(images))
    if not sums.batches:
        raise UserError(
            f"CKA compares images with each other and needs {SMALLEST_BATCH} or more in a batch; "
            f"the largest batch had {largest}: give more images (`--images`, `--batch-size`)"
        )
    matrix = sums.cka()
    if matrix.isnan().all():
        raise UserError(
            "no layer tells one image from another: the images are all the same, or the network "
            "gives the same for all of them"
        )
    layers_of = (tuple(first.layers), tuple(second.layers))
    return Cka(names, *layers_of, matrix, sums.images, largest, about)
