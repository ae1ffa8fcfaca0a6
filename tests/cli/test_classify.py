"""``kdna-zoo classify``: every kind of place and of picture."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from kdna_zoo.cli.app import main
from kdna_zoo.cli.classify import class_names

CLASSES = ["dark", "bright", "other"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A published folder whose network tells bright pictures from dark ones."""
    folder = tmp_path_factory.mktemp("model")
    network: Any = timm.create_model("test_resnet", num_classes=3).eval()
    network.fc.weight.data.zero_()
    network.fc.bias.data = network.fc.bias.data.new_tensor([0.0, 1.0, -1.0])
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "test_resnet",
        "num_classes": 3,
        "label_names": CLASSES,
        "pretrained_cfg": {**network.pretrained_cfg, "num_classes": 3, "architecture": None},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main(["classify", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_files_folders_and_globs(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("a.png", "deep/b.jpg", "deep/er/c.webp"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    (tmp_path / "deep" / "notes.txt").write_text("no picture")
    rows = answer(
        capsys, tmp_path / "deep", f"{tmp_path}/*.png", tmp_path / "a.png", "--model", model
    )
    assert [Path(row["image"]).name for row in rows] == ["b.jpg", "c.webp", "a.png"]
    shown = rows[0]["classes"]
    assert [entry["name"] for entry in shown] == ["bright", "dark", "other"]
    assert [entry["index"] for entry in shown] == [1, 0, 2]
    assert sum(entry["probability"] for entry in shown) == pytest.approx(1)
    assert len(answer(capsys, tmp_path / "a.png", "--top", 2, "--model", model)[0]["classes"]) == 2


def test_text(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    assert main(["classify", str(tmp_path / "a.png"), "--model", model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(tmp_path / "a.png")
    assert lines[1].split() == ["66.52%", "bright"]


def test_odd_pictures_and_broken_ones(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((20, 30), 40_000, np.uint16)).save(tmp_path / "16bit.png")
    Image.new("CMYK", (20, 30)).save(tmp_path / "cmyk.jpg")
    Image.new("L", (1, 1)).save(tmp_path / "one.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no")
    assert main(["classify", str(tmp_path), "--model", model]) == 1
    out, err = capsys.readouterr()
    assert out.count("bright") == 3
    assert f"cannot read {tmp_path}/broken.png: it is no image that PIL knows" in err


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere.png", "no file, folder or match of nowhere.png; give picture files, folders"),
        ("*.none", "no file, folder or match of *.none"),
        (".", "no pictures in the folder ."),
    ],
)
def test_nothing_to_classify(
    place: str,
    message: str,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["classify", place, "--model", model]) == 2
    assert message in capsys.readouterr().err


def test_a_network_without_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert main(["classify", str(tmp_path), "--model", "test_kdna_resnet"]) == 2
    assert "there are no weights of test_kdna_resnet here" in capsys.readouterr().err


def test_names_where_the_network_has_none() -> None:
    assert class_names(timm.create_model("test_resnet"))[0].startswith("tench")
    few: Any = timm.create_model("test_resnet")
    few.pretrained_cfg = {"num_classes": 2}
    assert class_names(few) == ["class 0", "class 1"]
    few.pretrained_cfg = {"label_names": ["n1"], "label_descriptions": {"n1": "cat"}}
    assert class_names(few) == ["cat"]


def test_device_that_is_not_there(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    for device in ("nowhere", "cuda:99"):
        assert main(["classify", str(tmp_path), "--model", model, "--device", device]) == 2
        assert f"--device: '{device}' cannot be used here (" in capsys.readouterr().err


def test_fewer_names_than_classes(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(model.removeprefix("local-dir:"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "label_names": ["dark"]}))
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    assert main(["classify", str(tmp_path / "a.png"), "--model", f"local-dir:{folder}"]) == 2
    said = capsys.readouterr().err
    assert f"refused {folder / 'config.json'}: it has 3 classes and 1 label_names" in said


def test_escape_codes_in_names_are_shown_and_not_obeyed(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(model.removeprefix("local-dir:"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    names = ["a\x1b[2J\x1b]0;b\x07", "c\u202ed\nkdna-zoo: done", "caf\u00e9"]
    (folder / "config.json").write_text(json.dumps({**config, "label_names": names}))
    picture = tmp_path / "\x1b[31mred.png"
    Image.new("RGB", (40, 30)).save(picture)
    (tmp_path / "\x1b[1m.png").write_bytes(b"no picture")
    assert main(["classify", str(tmp_path), "--model", f"local-dir:{folder}"]) == 1
    out, err = capsys.readouterr()
    for shown in (r"a\x1b[2J\x1b]0;b\x07", r"c\u202ed\nkdna-zoo: done", "café", r"\x1b[31mred.png"):
        assert shown in out
    assert "cannot read " in err
    assert r"\x1b[1m.png" in err
    assert not set("\x1b\x07\u202e") & set(out + err)


def test_a_folder_is_searched_as_training_data_is(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "unpacked [v1]"
    for name in ("a.Png", "__MACOSX/._a.png", "deep/._b.png", ".hidden/c.png", "deep/d.JPEG"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(folder / name, format="PNG")
    (folder / "deep" / "notes.txt").write_text("")
    (folder / "deep" / "around").symlink_to(folder)
    assert main(["classify", str(folder), "--model", model, "--json"]) == 0
    out, err = capsys.readouterr()
    assert [Path(row["image"]).name for row in json.loads(out)] == ["a.Png", "d.JPEG"]
    assert f"passed over in {folder}: 3 hidden or of the system (as {folder}/" in err
    assert "1 .txt" in err
    assert "1 link to a folder around it" in err
