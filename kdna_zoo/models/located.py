"""A network named by where it lies, looked at before timm reads it, whoever published it.

timm reads ``config.json`` of a ``hf-hub:`` or ``local-dir:`` name before any code of ours runs.
What is wrong with that file, or keeps it from being had, is said here with the file's name.
"""

from os import PathLike
from pathlib import Path

from kdna_zoo.errors import WeightsError
from kdna_zoo.models.fetch import check_file, fetch_config, file_sha256
from kdna_zoo.models.published import CONFIG, check_config, read_config
from kdna_zoo.models.weights import FILE
from kdna_zoo.names import ON_THE_HUB

LOCAL = "local-dir:"


def repository_of(name: str) -> str | None:
    """Return the repository of a ``hf-hub:`` name; None of another."""
    return name.partition(":")[2].partition("@")[0] if name.startswith(ON_THE_HUB) else None


def check_located(
    name: str, pretrained: bool, cache_dir: str | PathLike[str] | None = None
) -> None:
    """Check what lies where a name says: ``config.json``, and the weights of a folder.

    Args:
        name: For ``timm.create_model``; a registered name has nothing to look at.
        pretrained: Whether its weights are wanted.
        cache_dir: The Hub's cache; None: its usual place.

    Raises:
        WeightsError: It is not there, cannot be had, or is not what was published.
    """
    if name.startswith(ON_THE_HUB):
        repo_id, _, revision = name.partition(":")[2].partition("@")
        read_config(fetch_config(repo_id, revision or None, cache_dir)[0])
    elif name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        if not folder.is_dir():
            raise WeightsError(f"there is no folder {folder}; {LOCAL} takes a published folder")
        read_config(folder / CONFIG)
        if pretrained and (folder / FILE).is_file():
            check_file(folder / FILE)
            check_config(folder / CONFIG, file_sha256(folder / FILE))
