"""Opens a data set by Hub id, folder or file through Hugging Face `datasets`, once and prepared.

A data set that is pinned to a revision is fetched as a snapshot of that very revision: offline,
`load_dataset(id, revision=...)` takes whichever revision is in the cache (datasets#7928).
"""

import glob
import hashlib
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from kdna_zoo.data.sources.built import BuiltSource
from kdna_zoo.data.sources.folder import FolderSource
from kdna_zoo.data.sources.image_folder import Level, read_image_folder
from kdna_zoo.data.sources.parquet_files import PARQUET, find_parquet_files
from kdna_zoo.data.sources.pictures import PassedOver
from kdna_zoo.data.sources.source import Source, front_matter
from kdna_zoo.errors import UserError

EMBEDDED = Path(__file__).parents[1] / "fashion_mnist_sample"
DECLARED = {"configs", "dataset_info"}  # how a README.md says what its data set's files are
PLACES = (
    "A data set is a Hub id such as 'org/name', an image folder (one folder for each class), a "
    "folder of parquet files, one parquet file, or null for the embedded Fashion-MNIST sample"
)


def open_source(
    path: str | None,
    name: str | None,
    revision: str | None,
    cache_dir: str | None,
    streaming: bool = False,
    label_column: str | None = None,
    level: Level = "first",
) -> Source:
    """Open a data set; download and prepare it if need be.

    Args:
        path: Hub id, image folder, folder of parquet files, or parquet file; None: the embedded
            sample.
        name: Configuration of a data set that has several.
        revision: Branch, tag or commit of a data set on the Hub.
        cache_dir: Where `datasets` keeps its Arrow files; None: its own choice.
        streaming: Whether to read the files as they are, without download or preparation.
        label_column: Of an image folder, the column of a side file with the labels; None or
            ``label``: folders are the classes.
        level: Of an image folder, which folder is an image's class.

    Returns:
        The data set.
    """
    place = EMBEDDED if path is None else Path(path).expanduser()
    title = "the embedded Fashion-MNIST sample" if path is None else f"data set {path!r}"
    try:
        if place.exists():
            if revision is not None:
                raise UserError(f"revision is for a data set on the Hub; {title} is local.")
            return _open_local(place, name, cache_dir, title, streaming, label_column, level)
        return _open_hub(str(path), name, revision, cache_dir, title, streaming)
    except UserError:
        raise
    except (ConnectionError, LocalEntryNotFoundError) as error:
        raise _unreachable(str(path), revision, error) from error
    except (DatasetNotFoundError, HfHubHTTPError) as error:
        raise UserError(
            f"{str(path)!r} is no file or folder here, and the Hub does not give such a data set: "
            f"{error} {PLACES}. For a private or gated one, log in with `hf auth login`."
        ) from error
    except (DatasetsError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"Cannot read {title}: {error.__cause__ or error}. {PLACES}.") from error


def _open_local(
    place: Path,
    name: str | None,
    cache_dir: str | None,
    title: str,
    streaming: bool,
    label_column: str | None,
    level: Level,
) -> Source:
    place = place.absolute()
    if not place.is_dir():
        if place.suffix.lower() != PARQUET:
            raise UserError(f"Cannot read {title}: it is no parquet file. {PLACES}.")
        return _open_parquet({"train": [str(place)]}, cache_dir, title, streaming)
    if name is not None or DECLARED & front_matter(place / "README.md").keys():
        return _open_declared(place, name, cache_dir, title, streaming)
    passed = PassedOver()
    files = find_parquet_files(place, passed)
    if not files:
        return FolderSource(place, title, streaming, level, label_column)
    if read_image_folder(place, level).labelled:
        raise UserError(
            f"{title} is both: it holds folders of images and parquet files "
            f"({next(iter(files.values()))[0]}). Give the folder or file of one of them."
        )
    return _open_parquet(files, cache_dir, title, streaming, place / "README.md", passed)


def _open_parquet(
    files: dict[str, list[str]],
    cache_dir: str | None,
    title: str,
    streaming: bool,
    readme: Path | None = None,
    passed: PassedOver | None = None,
) -> Source:
    """Open parquet files, by name: `datasets` would take special characters for patterns."""
    exact = {split: [glob.escape(file) for file in found] for split, found in files.items()}
    builder = datasets.load_dataset_builder("parquet", data_files=exact, cache_dir=cache_dir)
    return BuiltSource(builder, title, readme, streaming=streaming, passed=passed)


def _open_declared(
    place: Path, name: str | None, cache_dir: str | None, title: str, streaming: bool
) -> BuiltSource:
    """Open a folder whose README.md says what its files are, or that came from the Hub."""
    builder = datasets.load_dataset_builder(str(place), name, cache_dir=cache_dir)
    if "configs" in front_matter(place / "README.md"):
        cache_dir = _cache_of_files(builder, cache_dir)
        builder = datasets.load_dataset_builder(str(place), name, cache_dir=cache_dir)
    return BuiltSource(builder, title, place / "README.md", streaming=streaming)


def _cache_of_files(builder: Any, cache_dir: str | None) -> str:
    """Return a cache for the very files of a folder, as they are now.

    Where README.md lists ``configs``, `datasets` looks at the folder's name and that list alone: it
    would go on with the images of another folder of that name, or with those before a change.
    """
    files = builder.config.data_files or {}
    state = [(str(split), *found, *found.origin_metadata) for split, found in files.items()]
    key = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
    return str(Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / f"folder-{key}")


def _open_hub(
    hub_id: str,
    name: str | None,
    revision: str | None,
    cache_dir: str | None,
    title: str,
    streaming: bool,
) -> Source:
    if not _may_be_hub_id(hub_id):
        raise UserError(f"There is no file or folder {hub_id!r}. {PLACES}.")
    if streaming:
        return _stream_hub(hub_id, name, revision, cache_dir, title)
    if revision is not None:
        endpoint = datasets.config.HF_ENDPOINT
        snapshot = Path(
            snapshot_download(hub_id, repo_type="dataset", revision=revision, endpoint=endpoint)
        )
        source = _open_declared(snapshot, name, cache_dir, title, streaming=False)
        source.hub_id, source.revision = hub_id, snapshot.name
        return source
    builder = datasets.load_dataset_builder(hub_id, name, cache_dir=cache_dir)
    return _on_hub(builder, title, hub_id, streaming=False)


def _stream_hub(
    hub_id: str, name: str | None, revision: str | None, cache_dir: str | None, title: str
) -> Source:
    """Open a stream from the Hub, never from its cache: that would ignore the revision."""
    if datasets.config.HF_HUB_OFFLINE:
        raise UserError(
            f"streaming reads {title} from the Hub, and HF_HUB_OFFLINE is set: unset it, or set "
            "streaming to false and use what was downloaded before."
        )
    builder = datasets.load_dataset_builder(hub_id, name, revision=revision, cache_dir=cache_dir)
    return _on_hub(builder, title, hub_id, streaming=True)


def _on_hub(builder: Any, title: str, hub_id: str, streaming: bool) -> Source:
    source = BuiltSource(builder, title, None, hub_id, builder.hash, streaming)
    readme = try_to_load_from_cache(hub_id, "README.md", repo_type="dataset", revision=builder.hash)
    source.card = front_matter(Path(readme) if isinstance(readme, str) else None)
    return source


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
