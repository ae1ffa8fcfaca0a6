"""The weights manifest: for each tag where its weights lie, their sha256, and all they need.

``weights.json`` beside this file is that data; `kdna-zoo publish --update-manifest` writes it. The
order in it counts: the first tag of a network that has weights is its default. A tag with a
revision comes from the Hub, at that commit; one without comes from ``hub/<tag>/`` of a checkout.
"""

import json
import re
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from kdna_zoo.errors import UserError
from kdna_zoo.paths import published_folder
from kdna_zoo.records.formats import MANIFEST_FORMAT

ORGANISATION = "kdna-zoo"  # on the Hub; CONTRIBUTING.md says how to move it
MANIFEST = Path(__file__).with_name("weights.json")
FILE = "model.safetensors"


@dataclass(frozen=True)
class PublishedWeights:
    """One tag's weights.

    Attributes:
        repo_id: The repository on the Hub where they lie or will lie.
        revision: Its commit, 40 hexadecimal digits; None while they are not on the Hub.
        version: The Hub's tag of that commit, such as ``v1``; None if it has none.
        sha256: Of ``model.safetensors``.
        size: Of that file, in bytes.
        config_sha256: Of ``config.json`` beside it.
        arch_args: Arguments of ``timm.create_model`` beside the number of classes.
        num_classes: Classes of the head.
        label_names: The classes' names, by index.
        data_config: How an image becomes the input, as timm has it.
        license: Of the weights, an identifier of the Hub.
        dataset: What they were trained on.
        recipe: The recipe, from the top of a checkout; None if they had none.
        metrics: What was measured, on how many images (``images``), with which ``seeds``.
    """

    repo_id: str
    revision: str | None
    version: str | None
    sha256: str
    size: int
    config_sha256: str
    arch_args: dict[str, Any]
    num_classes: int
    label_names: list[str]
    data_config: dict[str, Any]
    license: str
    dataset: str
    recipe: str | None
    metrics: dict[str, Any] | None

    def source(self, name: str) -> dict[str, str]:
        """Say where they come from, as timm's configuration has it; empty if they are not here.

        A file comes before a repository, which then only says where the file belongs.
        """
        if self.revision:
            return {"hf_hub_id": f"{self.repo_id}@{self.revision}", "hf_hub_filename": FILE}
        folder = published_folder(name)
        return {"file": str(folder / FILE), "hf_hub_id": self.repo_id} if folder else {}


def read_manifest(path: Path = MANIFEST) -> dict[str, PublishedWeights]:
    """Read and check a manifest.

    Returns:
        ``network.tag`` -> weights, in the file's order.

    Raises:
        UserError: If it is no manifest of this version, or an entry of it cannot be right.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.get("format")
        if found != MANIFEST_FORMAT:
            raise ValueError(f"its format is {found!r}, and this version reads {MANIFEST_FORMAT}")
        return {name: _parse(name, entry) for name, entry in content["weights"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"cannot use the weights manifest {path}: {error}") from error


def write_manifest(weights: dict[str, PublishedWeights], path: Path = MANIFEST) -> None:
    """Write a manifest, in the order given."""
    content = {
        "format": MANIFEST_FORMAT,
        "weights": {name: asdict(w) for name, w in weights.items()},
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@cache
def known_weights() -> dict[str, PublishedWeights]:
    """Return this package's own manifest, read once."""
    return read_manifest()


def weights_of(arch: str) -> dict[str, PublishedWeights]:
    """Return the weights of one network, by ``network.tag``."""
    return {k: w for k, w in known_weights().items() if k.partition(".")[0] == arch}


def find_weights(repo_id: str, revision: str) -> PublishedWeights | None:
    """Return the weights in a repository of the Hub at a commit, if the manifest has them."""
    for weights in known_weights().values():
        if (weights.repo_id, weights.revision) == (repo_id, revision):
            return weights
    return None


def find_by_content(sha256: str) -> tuple[str, PublishedWeights] | None:
    """Return the weights with this sha256 and their ``network.tag``, if the manifest has them."""
    for name, weights in known_weights().items():
        if weights.sha256 == sha256:
            return name, weights
    return None


def find_version(repo_id: str, version: str) -> PublishedWeights | None:
    """Return the weights that a tag of a repository on the Hub names, if the manifest has them."""
    for weights in known_weights().values():
        if weights.revision and (weights.repo_id, weights.version) == (repo_id, version):
            return weights
    return None


def _parse(name: str, entry: dict[str, Any]) -> PublishedWeights:
    wanted = {field.name for field in fields(PublishedWeights)}
    if differing := sorted(wanted ^ set(entry)):
        raise ValueError(f"{name} lacks or has in excess: {', '.join(differing)}")
    weights = PublishedWeights(**entry)
    for key, digits in (("revision", 40), ("sha256", 64), ("config_sha256", 64)):
        value = entry[key]
        if not (
            (value is None and key == "revision") or re.fullmatch(rf"[0-9a-f]{{{digits}}}", value)
        ):
            raise ValueError(f"{name}: {key} should be {digits} hexadecimal digits, not {value!r}")
    if len(weights.label_names) != weights.num_classes:
        raise ValueError(
            f"{name}: {weights.num_classes} classes and {len(weights.label_names)} names of them"
        )
    return weights
