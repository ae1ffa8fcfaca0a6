"""config.json of a published network: what it may say, and what the manifest says against it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import kdna_zoo
from kdna_zoo.cli.app import main
from kdna_zoo.errors import WeightsError

NAME = "kdna_mobilenetv2_050.fmnist"  # the smallest
PUBLISHED = Path(__file__).parents[2] / "hub" / NAME
Config = dict[str, Any]


def deep(key: str, value: object) -> Callable[[Config], Config]:
    return lambda c: {**c, "pretrained_cfg": {**c["pretrained_cfg"], key: value}}


def top(**changes: object) -> Callable[[Config], Config]:
    return lambda c: {**c, **changes}


def without(*keys: str) -> Callable[[Config], Config]:
    return lambda c: {k: v for k, v in c.items() if k not in keys}


NAMES = json.loads((PUBLISHED / "config.json").read_text())["label_names"]
ALTERED = {
    "names reversed": (
        top(label_names=NAMES[::-1]),
        r"states label_names \['Ankle boot'.* and the",
    ),
    "described otherwise": (
        top(label_descriptions={"Dress": "Shirt"}),
        r"states label_descriptions \{'Dress': 'Shirt'\}, and the manifest none",
    ),
    "another mean": (deep("mean", [0.5, 0.5, 0.5]), r"states mean \[0.5, 0.5, 0.5\], and the"),
    "another crop": (deep("crop_pct", 0.5), r"states crop_pct 0.5, and the manifest 1.0"),
    "another test size": (deep("test_input_size", [3, 99, 99]), r"states test_input_size"),
    "5 names": (top(label_names=NAMES[:5]), r"it has 10 classes and 5 label_names"),
    "names that are none": (top(label_names=[1] * 10), r"label_names is \[1, .* a list of names"),
    "two means": (deep("mean", [0.1, 0.2]), r"mean has 2 numbers, and the input 3 channels"),
    "std of zero": (deep("std", [0.0] * 3), r"std is \[0.0, 0.0, 0.0\], and should be numbers abo"),
    "two numbers of classes": (
        deep("num_classes", 9),
        r"num_classes is 10, and 9 in pretrained_cfg",
    ),
    "no statement": (
        without("weights"),
        r"it lacks 'weights', where a release states what its wei",
    ),
    "no true statement": (top(weights={"sha256": "x", "size": 1}), r"and 1 were published"),
    "another loader": (
        deep("custom_load", "hf"),
        r"states custom_load 'hf', which would pass over",
    ),
    "a shift": (deep("label_offset", 1), r"states label_offset 1, and the manifest none"),
}


def copy(tmp_path: Path, change: Callable[[Config], Config]) -> Path:
    folder = shutil.copytree(PUBLISHED, tmp_path / "copy")
    config = folder / "config.json"
    config.write_text(json.dumps(change(json.loads(config.read_text()))))
    return folder


def state_again(folder: Path) -> None:
    """Lets config.json state the weights that lie there now."""
    from kdna_zoo.release.timm_format import seal_config

    seal_config(folder)


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_config_is_refused(what: str, tmp_path: Path) -> None:
    change, message = ALTERED[what]
    folder = copy(tmp_path, change)
    with pytest.raises(WeightsError, match=message):
        timm.create_model(f"local-dir:{folder}", pretrained=True)


def test_altered_together_with_its_weights_the_rest_has_to_agree(tmp_path: Path) -> None:
    """Nothing pins what a stranger publishes; its labels still have to be those of its classes."""
    folder = copy(tmp_path, top(label_names=NAMES[:5]))
    state = load_file(folder / "model.safetensors")
    save_file({key: tensor + 1 for key, tensor in state.items()}, folder / "model.safetensors")
    state_again(folder)
    with pytest.raises(WeightsError, match=r"it has 10 classes and 5 label_names"):
        timm.create_model(f"local-dir:{folder}", pretrained=True)
    (folder / "config.json").write_text(
        json.dumps({**json.loads((folder / "config.json").read_text()), "label_names": NAMES[::-1]})
    )
    timm.create_model(f"local-dir:{folder}", pretrained=True)
    stated = json.loads((folder / "config.json").read_text())
    stated["pretrained_cfg"]["first_conv"] = "conv_head"
    (folder / "config.json").write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match="states first_conv 'conv_head', and the network has"):
        timm.create_model(f"local-dir:{folder}", pretrained=True)


def test_a_folder_as_earlier_versions_wrote_it_loads(tmp_path: Path) -> None:
    """They stated the number of classes among the network's arguments too."""
    folder = copy(tmp_path, lambda c: {**c, "model_args": {"num_classes": 10, **c["model_args"]}})
    image = torch.ones(1, 3, 36, 36)
    old, new = (
        timm.create_model(name, pretrained=True).eval()
        for name in (f"local-dir:{folder}", f"local-dir:{PUBLISHED}")
    )
    assert torch.equal(old(image), new(image))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(
    value: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(tmp_path, lambda c: c)
    state = load_file(folder / "model.safetensors")
    state["classifier.bias"][0] = value
    save_file(state, folder / "model.safetensors")
    state_again(folder)
    message = "NaN or infinity in 'classifier.bias': nobody could use them"
    with pytest.raises(WeightsError, match=message):
        timm.create_model(f"local-dir:{folder}", pretrained=True)
    picture = Path(kdna_zoo.__file__).parent / "release" / "examples" / "0.png"
    for command in (
        ["classify", str(picture), "--model", f"local-dir:{folder}"],
        ["publish", str(folder), "--to", str(tmp_path / "again")],
        [
            *("validate", "--config", "recipes/quickstart.yaml", "--model.arch_args", "null"),
            *("--model.arch", f"local-dir:{folder}", "--model.pretrained", "true"),
            *("--trainer.default_root_dir", str(tmp_path / "run")),
        ],
    ):
        assert main(command) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("arch", ["test_resnet", "test_odconv_resnet"])
def test_networks_that_share_nothing_are_looked_at_too(
    arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    model = timm.create_model(arch, num_classes=2)
    torch.nn.init.constant_(model.get_classifier().bias, float("nan"))
    timm.models.save_for_hf(
        model, str(folder), model_config={"label_names": ["a", "b"]}, safe_serialization=True
    )
    picture = Path(kdna_zoo.__file__).parent / "release" / "examples" / "0.png"
    assert main(["classify", str(picture), "--model", f"local-dir:{folder}"]) == 2
    assert "have NaN or infinity in 'fc.bias': nobody could use them" in capsys.readouterr().err


def test_a_peer_is_checked_by_timm_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    model = timm.create_model("test_odconv_resnet", num_classes=2)
    names = {"label_names": ["a", "b"]}
    timm.models.save_for_hf(model, str(folder), model_config=names, safe_serialization=True)
    state_again(folder)
    timm.create_model(f"local-dir:{folder}", pretrained=True)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match="it was altered or swapped"):
        timm.create_model(f"local-dir:{folder}", pretrained=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cannot be read: Expecting property name"),
        (b"\xff", "cannot be read: 'utf-8' codec"),
        (b"[]", "it holds a list, and should hold an object"),
        (b"{}", "architecture is None, and should name the network"),
        (b'{"architecture": "x", "pretrained_cfg": 1}', "pretrained_cfg is 1, and should be an ob"),
        (b'{"architecture": "x", "num_classes": "ten"}', "num_classes is 'ten', and should be a w"),
        (b'{"architecture": "x", "model_args": [1]}', "model_args is [1], and should be an object"),
    ],
)
def test_a_fault_of_config_json_names_the_file(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_bytes(content)
    picture = str(Path(kdna_zoo.__file__).parent / "release" / "examples" / "0.png")
    name = f"local-dir:{tmp_path}"
    for command in (
        ["info", name],
        ["classify", picture, "--model", name],
        ["export", name, "--format", "onnx", "--to", str(tmp_path / "x.onnx")],
    ):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert message in said
        assert str(tmp_path / "config.json") in said
