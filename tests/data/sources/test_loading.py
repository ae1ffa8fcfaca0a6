"""Opening data sets: every kind of place, and every way in which one can be missing."""

from pathlib import Path

import datasets
import pytest

from kdna_zoo.data import ImageData
from kdna_zoo.errors import UserError
from tests.data.conftest import set_offline, write_folder, write_parquet
from tests.hub.double import HubDouble


def test_image_folder_with_splits(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "pets", {"train": {"cat": 3, "dog": 2}, "val": {"cat": 1}})
    data = ImageData(str(path))
    assert data.label_names == ["cat", "dog"]
    assert data.describe() == {
        "name": "pets",
        "path": str(path),
        "hub_id": None,
        "revision": None,
        "license": None,
        "sources": [],
        "train": {"split": "train", "images": 5},
        "val": {"split": "validation", "images": 1},
    }


def test_folder_of_parquet_files_and_its_readme(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [0, 1])
    write_parquet(tmp_path / "train-00001-of-00002.parquet", [1])
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [0])
    front = "---\nlicense: [mit, cc0-1.0]\npretty_name: Pets\n---\nPets.\n"
    (tmp_path / "README.md").write_text(front)
    described = ImageData(str(tmp_path)).describe()
    assert (described["name"], described["license"]) == ("Pets", "mit, cc0-1.0")
    assert described["train"] == {"split": "train", "images": 3}
    assert described["val"] == {"split": "test", "images": 1}


def test_a_folder_whose_readme_lists_its_files_is_read_as_it_is_now(tmp_path: Path) -> None:
    """`datasets` alone serves the first of them from its cache, each time."""
    front = "---\nconfigs:\n- config_name: default\n  data_files: train.parquet\n---\n"

    def images(folder: Path, count: int) -> object:
        write_parquet(folder / "train.parquet", [0, 1, *[1] * (count - 2)])
        (folder / "README.md").write_text(front)
        return ImageData(str(folder)).describe()["train"]

    for folder, count in ((tmp_path / "a" / "pets", 3), (tmp_path / "b" / "pets", 4)):
        assert images(folder, count) == {"split": "train", "images": count}
    assert images(tmp_path / "b" / "pets", 5) == {"split": "train", "images": 5}


def test_one_parquet_file_and_slices(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "pets.parquet", [0, 1] * 5)
    data = ImageData(str(file), train_split="train[:80%]", val_split="train[80%:]")
    described = data.describe()
    assert described["train"] == {"split": "train[:80%]", "images": 8}
    assert described["val"] == {"split": "train[80%:]", "images": 2}


def test_cache_dir_is_used(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "pets.parquet", [0, 1])
    data = ImageData(str(file), cache_dir=str(tmp_path / "cache"))
    assert data.num_classes == 2
    assert list((tmp_path / "cache").rglob("*.arrow"))


def test_hub_id_and_again_offline(
    tmp_path: Path, hub: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1, 1])
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    sha = hub.commit("datasets/someone/pets", tmp_path, "main")
    described = ImageData("someone/pets").describe()
    assert described == {
        "name": "pets",
        "path": None,
        "hub_id": "someone/pets",
        "revision": sha,
        "license": "cc-by-4.0",
        "sources": [],
        "train": {"split": "train", "images": 3},
        "val": None,
    }
    set_offline(monkeypatch, True)
    assert ImageData("someone/pets").describe() == described


def test_revision_is_exact_also_offline(
    tmp_path: Path, hub: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    shas = {}
    for tag, labels in {"v1": [0, 1, 1], "v2": [0, 1, 1, 0]}.items():
        write_parquet(tmp_path / tag / "train.parquet", labels)
        shas[tag] = hub.commit("datasets/someone/tagged", tmp_path / tag, tag, "main")
        ImageData("someone/tagged", revision=tag).prepare_data()
    set_offline(monkeypatch, True)
    described = ImageData("someone/tagged", revision="v1").describe()
    assert (described["hub_id"], described["path"]) == ("someone/tagged", None)
    assert described["revision"] == shas["v1"]
    assert described["train"] == {"split": "train", "images": 3}
    with pytest.raises(UserError, match="someone/tagged at revision v99 is not in the cache"):
        ImageData("someone/tagged", revision="v99").prepare_data()


def test_no_such_path() -> None:
    with pytest.raises(UserError, match=r"There is no file or folder '/no/where'.* Hub id such"):
        ImageData("/no/where").prepare_data()
    with pytest.raises(UserError, match=r"There is no file or folder 'pets\.parquet'"):
        ImageData("pets.parquet").prepare_data()
    with pytest.raises(UserError, match=r"There is no file or folder '\./pets'"):
        ImageData("./pets").prepare_data()


def test_hub_id_while_offline() -> None:
    with pytest.raises(UserError, match=r"'no/where' is no file or folder.*HF_HUB_OFFLINE is set"):
        ImageData("no/where").prepare_data()


@pytest.mark.parametrize("revision", [None, "v1"])
def test_hub_has_no_such_data_set(hub: HubDouble, revision: str | None) -> None:
    with pytest.raises(UserError, match=r"'no/where' is no file or folder here, and the Hub does"):
        ImageData("no/where", revision=revision).prepare_data()


def test_hub_has_no_such_revision(tmp_path: Path, hub: HubDouble) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    hub.commit("datasets/someone/pets", tmp_path, "main")
    with pytest.raises(UserError, match=r"someone/pets.*v9"):
        ImageData("someone/pets", revision="v9").prepare_data()


def test_hub_cannot_be_reached(hub: HubDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"the Hub cannot be reached for no/where.*Check the conn"):
        ImageData("no/where").prepare_data()


def test_revision_of_a_local_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="revision is for a data set on the Hub"):
        ImageData(str(tmp_path), revision="v1").prepare_data()


def test_no_such_configuration(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    with pytest.raises(UserError, match=r"'large' not found. Available: \['default'\]"):
        ImageData(str(tmp_path), name="large").prepare_data()


def test_folder_without_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read data set .*: the folder holds no images\."):
        ImageData(str(tmp_path)).prepare_data()


def test_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "pets.csv").write_text("a,b\n")
    with pytest.raises(UserError, match=r"pets\.csv': it is no parquet file"):
        ImageData(str(tmp_path / "pets.csv")).prepare_data()
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    with pytest.raises(UserError, match=r"Cannot read data set .*broken\.parquet': Parquet magic"):
        ImageData(str(tmp_path / "broken.parquet")).prepare_data()


def test_no_such_split(tmp_path: Path) -> None:
    path = str(write_folder(tmp_path, {"train": {"cat": 1, "dog": 1}, "test": {"cat": 1}}))
    with pytest.raises(UserError, match=r"There is no split 'dev' in .*It has: train, test\."):
        ImageData(path, val_split="dev").setup("validate")
    with pytest.raises(UserError, match="There is no split 'dev'"):
        ImageData(path, val_split="dev[:10%]").setup("fit")


def test_nothing_to_validate_on(tmp_path: Path) -> None:
    data = ImageData(str(write_parquet(tmp_path / "pets.parquet", [0, 1])))
    with pytest.raises(
        UserError, match=r"it has: train\. Name one with val_split, or hold a tenth"
    ):
        data.setup("fit")


@pytest.mark.parametrize("split", ["train[:0%]", "train[5:5]"])
def test_empty_slice(tmp_path: Path, split: str) -> None:
    data = ImageData(str(write_parquet(tmp_path / "pets.parquet", [0, 1])), train_split=split)
    with pytest.raises(UserError, match=r"Split 'train\[.*' of data set .* is empty"):
        data.setup("fit")


def test_empty_split(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    write_parquet(tmp_path / "test.parquet", [])
    with pytest.raises(UserError, match=r"Split 'test' of data set .* is empty"):
        ImageData(str(tmp_path)).setup("test")


def test_slice_that_is_none(tmp_path: Path) -> None:
    data = ImageData(str(write_parquet(tmp_path / "p.parquet", [0, 1])), train_split="train[:9x]")
    with pytest.raises(UserError, match=r"cannot be read: .*Write a slice as 'train\[:90%\]'"):
        data.setup("fit")
