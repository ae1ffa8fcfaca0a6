"""Opens a data set by Hub id, folder or file through Hugging Face `datasets`, once and prepared.

A data set that is pinned to a revision is fetched as a snapshot of that very revision: offline,
`load_dataset(id, revision=...)` takes whichever revision is in the cache (datasets#7928).
"""

from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from huggingface_hub import DatasetCard, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from kdna_zoo.errors import UserError

EMBEDDED = Path(__file__).with_name("fashion_mnist_sample")
PLACES = (
    "A data set is a Hub id such as 'org/name', an image folder (one folder for each class), a "
    "folder of parquet files, one parquet file, or null for the embedded Fashion-MNIST sample"
)


class Source:
    """One data set, downloaded and prepared.

    Attributes:
        title: The data set in words, for messages.
        splits: Names of its splits.
        features: Its columns and their types.
        hub_id: Its id on the Hub; None if it is local.
        revision: The Hub's commit; None if it is local.
        card: The front matter of its README.md; empty if there is none.
        classes_are_folders: Whether folder names make the classes, rather than a declaration.
        parquet_files: The local parquet files of each split; empty if it is not made of those.
    """

    def __init__(
        self,
        builder: Any,
        title: str,
        readme: Path | None,
        hub_id: str | None = None,
        revision: str | None = None,
    ) -> None:
        self._builder = builder
        self.title = title
        self.splits = list(builder.info.splits)
        self.features: datasets.Features = builder.info.features
        self.hub_id = hub_id
        self.revision = revision
        self.card = _front_matter(readme)
        self.classes_are_folders = builder.name == "imagefolder"
        self.parquet_files: dict[str, list[str]] = {}
        if builder.name == "parquet" and hub_id is None:
            self.parquet_files = {str(k): list(v) for k, v in builder.config.data_files.items()}

    def first_split(self, argument: str, candidates: tuple[str, ...]) -> str:
        """The first of some splits that there is; `argument` would name another.

        Raises:
            UserError: There is none of them.
        """
        for split in candidates:
            if split in self.splits:
                return split
        raise UserError(
            f"No split of {self.title} is called {' or '.join(candidates)}; it has: "
            f"{', '.join(self.splits)}. Name one with {argument}, or hold a tenth of the training "
            "images out with val_fraction 0.1."
        )

    def read(self, split: str) -> datasets.Dataset:
        """Read one split.

        Args:
            split: Its name, or a slice or sum of splits such as ``train[:90%]``.

        Returns:
            The rows, memory-mapped, one or more.
        """
        missing = [name for name in _names(split) if name not in self.splits]
        if missing:
            raise UserError(
                f"There is no split {missing[0]!r} in {self.title}. It has: "
                f"{', '.join(self.splits)}."
            )
        try:
            return self._builder.as_dataset(split=split)
        except ValueError as error:
            if "corresponds to no data" in str(error):
                raise UserError(f"Split {split!r} of {self.title} is empty.") from error
            raise UserError(
                f"Split {split!r} of {self.title} cannot be read: {error}. Write a slice as "
                "'train[:90%]' or 'train[100:200]'."
            ) from error

    def has(self, split: str) -> bool:
        """Whether each split named in `split` exists."""
        return all(name in self.splits for name in _names(split))

    def whole(self, split: str) -> str:
        """The splits that `split` takes slices of, whole: ``train[:90%]`` gives ``train``."""
        return "+".join(dict.fromkeys(_names(split)))


def open_source(
    path: str | None, name: str | None, revision: str | None, cache_dir: str | None
) -> Source:
    """Open a data set; download and prepare it if need be.

    Args:
        path: Hub id, image folder, folder of parquet files, or parquet file; None: the embedded
            sample.
        name: Configuration of a data set that has several.
        revision: Branch, tag or commit of a data set on the Hub.
        cache_dir: Where `datasets` keeps its Arrow files; None: its own choice.

    Returns:
        The data set.
    """
    place = EMBEDDED if path is None else Path(path).expanduser()
    title = "the embedded Fashion-MNIST sample" if path is None else f"data set {path!r}"
    try:
        if place.exists():
            if revision is not None:
                raise UserError(f"revision is for a data set on the Hub; {title} is local.")
            return _open_local(place, name, cache_dir, title)
        return _open_hub(str(path), name, revision, cache_dir, title)
    except UserError:
        raise
    except (ConnectionError, LocalEntryNotFoundError) as error:
        raise _unreachable(str(path), revision, error) from error
    except (DatasetNotFoundError, HfHubHTTPError) as error:
        raise UserError(
            f"{str(path)!r} is no file or folder here, and the Hub does not give such a data set: "
            f"{error} {PLACES}. For a private or gated one, log in with `hf auth login`."
        ) from error
    except (DatasetsError, FileNotFoundError, RuntimeError, ValueError) as error:
        raise UserError(f"Cannot read {title}: {error.__cause__ or error}. {PLACES}.") from error


def _open_local(place: Path, name: str | None, cache_dir: str | None, title: str) -> Source:
    place = place.absolute()
    if place.is_dir():
        builder = datasets.load_dataset_builder(str(place), name, cache_dir=cache_dir)
    elif place.suffix == ".parquet":
        files = {"train": [str(place)]}
        builder = datasets.load_dataset_builder("parquet", data_files=files, cache_dir=cache_dir)
    else:
        raise UserError(f"Cannot read {title}: it is no parquet file. {PLACES}.")
    builder.download_and_prepare()
    return Source(builder, title, place / "README.md" if place.is_dir() else None)


def _open_hub(
    hub_id: str, name: str | None, revision: str | None, cache_dir: str | None, title: str
) -> Source:
    if not _may_be_hub_id(hub_id):
        raise UserError(f"There is no file or folder {hub_id!r}. {PLACES}.")
    if revision is not None:
        endpoint = datasets.config.HF_ENDPOINT
        snapshot = Path(
            snapshot_download(hub_id, repo_type="dataset", revision=revision, endpoint=endpoint)
        )
        source = _open_local(snapshot, name, cache_dir, title)
        source.hub_id, source.revision = hub_id, snapshot.name
        return source
    builder = datasets.load_dataset_builder(hub_id, name, cache_dir=cache_dir)
    builder.download_and_prepare()
    readme = try_to_load_from_cache(hub_id, "README.md", repo_type="dataset", revision=builder.hash)
    return Source(
        builder, title, Path(readme) if isinstance(readme, str) else None, hub_id, builder.hash
    )


def _unreachable(hub_id: str, revision: str | None, error: Exception) -> UserError:
    what = hub_id if revision is None else f"{hub_id} at revision {revision}"
    if datasets.config.HF_HUB_OFFLINE:
        return UserError(
            f"{hub_id!r} is no file or folder here. As a Hub data set, {what} is not in the cache, "
            "and HF_HUB_OFFLINE is set: unset it, or load the data set once while online. "
            f"{PLACES}."
        )
    return UserError(
        f"{hub_id!r} is no file or folder here, and the Hub cannot be reached for {what}: {error}. "
        f"Check the connection. {PLACES}."
    )


def _may_be_hub_id(path: str) -> bool:
    try:
        validate_repo_id(path)
    except HFValidationError:
        return False
    return Path(path).suffix != ".parquet"


def _names(split: str) -> list[str]:
    return [part.partition("[")[0].strip() for part in split.split("+")]


def _front_matter(readme: Path | None) -> dict[str, Any]:
    if readme is None or not readme.is_file():
        return {}
    front: dict[str, Any] = DatasetCard.load(readme, ignore_metadata_errors=True).data.to_dict()
    return front
