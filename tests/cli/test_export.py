"""``kdna-zoo export``: what is written computes what the network does, or nothing is written."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf
from torch import Tensor, nn

import kdna_zoo
from kdna_zoo.cli import export
from kdna_zoo.cli.app import main
from kdna_zoo.errors import RunError, UserError
from kdna_zoo.release.onnx import Request, export_network


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `kdna-zoo publish` leaves it, of a network whose 1x1 kernels are shared."""
    folder = tmp_path_factory.mktemp("export") / "published"
    model = timm.create_model("test_kdna_convnext", num_classes=5)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)  # also what starts at zero, such as the adapters
    save_for_hf(model, str(folder), safe_serialization=True)
    return folder


def written(file: Path, format: str, fuse: str | None, images: Tensor) -> Tensor:
    """What the file computes, by the lines that the command prints."""
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    if format == "pt2":
        output: Tensor = torch.export.load(file).module()(images)
        return output
    model: nn.Module = timm.create_model("test_kdna_convnext", num_classes=5).eval()
    model = kdna_zoo.fuse(model, keep=fuse) if fuse else model
    model.load_state_dict(load_file(file))
    output = model(images)
    return output


@pytest.mark.integration
@pytest.mark.parametrize(
    ("format", "fuse"),
    [
        ("onnx", None),
        ("onnx", "size"),
        ("pt2", None),
        ("pt2", "speed"),
        ("safetensors", None),
        ("safetensors", "speed"),
        ("safetensors", "size"),
    ],
)
def test_what_is_written_computes_the_same(
    format: str,
    fuse: str | None,
    published: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, source = tmp_path / f"network.{format}", f"local-dir:{published}"
    options = ["--fuse", fuse] if fuse else []
    arguments = ["export", source, "--format", format, "--to", str(file), *options]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert f"Wrote {file}\n" in out
    assert "trained weights" in out
    assert "RANDOM" not in out
    assert "read back and run at batch 1 and 3: " in out
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]
    assert b".py" not in file.read_bytes(), "lines of the source, on this machine"
    model = timm.create_model(source, pretrained=True).eval()
    for batch in (1, 2, 5):
        images = torch.randn(batch, 3, 64, 64)
        with torch.no_grad():
            expected, output = model(images), written(file, format, fuse, images)
        assert (output - expected).abs().max() < 1e-5 * expected.abs().max()


def test_name_of_the_file_by_default(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "test_kdna_resnet", "--format", "safetensors", "--fuse", "speed"]) == 0
    assert main(["export", f"local-dir:{published}", "--format", "safetensors"]) == 0
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["published.safetensors", "test_kdna_resnet-speed.safetensors"]


@pytest.mark.integration
def test_one_batch_size_of_the_users_choice(tmp_path: Path) -> None:
    file = tmp_path / "four.pt2"
    options = ["--batch", "4", "--img-size", "32", "--to", str(file)]
    assert main(["export", "test_kdna_resnet", "--format", "pt2", *options]) == 0
    model = torch.export.load(file).module()
    assert model(torch.randn(4, 3, 32, 32)).shape == (4, 1000)
    with pytest.raises(AssertionError, match="== 4"):
        model(torch.randn(5, 3, 32, 32))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--format", "onx"], "argument --format: invalid choice: 'onx' (choose from "),
        (["--frmat", "onnx"], "required: --format"),
        (["--format", "pt2", "--fuze", "speed"], "does not know '--fuze'; did you mean --fuse"),
        (["--format", "onnx", "--opset", "17"], "opset 17 is too old: give one from 18 to 23"),
        (["--format", "onnx", "--opset", "99"], "opset 99 is too new: give one from 18 to 23"),
        (["--format", "pt2", "--opset", "18"], "--opset is for --format onnx, not pt2"),
        (["--format", "safetensors", "--batch", "2"], "--batch is for onnx and pt2"),
        (["--format", "pt2", "--batch", "none"], "'none' is not a whole number of 1 or more"),
        (["--format", "pt2", "--fuse", "size"], "no 1x1 kernel is shared in this network"),
        (
            ["--format", "pt2", "--pretrained"],
            "there are no weights of test_kdna_resnet here. Tags with",
        ),
        (["--format", "pt2", "--to", "absent/a.pt2"], "there is no folder absent; make it first"),
        (["--format", "pt2", "--to", "folder"], "folder is a folder; give the path of a file"),
        (["--format", "pt2", "--to", "/proc/a.pt2"], "cannot write /proc/a.pt2: [Errno "),
        (["--format", "pt2", "--to", "old"], "old is there already; give another --to, or --over"),
    ],
)
def test_mistakes(
    options: list[str],
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "old").write_text("old")
    assert main(["export", "test_kdna_resnet", *options]) == 2
    printed = capsys.readouterr()
    assert error in printed.err
    assert printed.err.startswith("kdna-zoo: ")
    assert len([line for line in printed.err.splitlines() if "RANDOM" not in line]) == 1
    assert not printed.out
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "old"]
    assert (tmp_path / "old").read_text() == "old"


@pytest.mark.parametrize("format", ["pt2", "safetensors"])
def test_a_size_that_the_network_does_not_take(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--format", format, "--img-size", "32", "--to", str(tmp_path / "a")]
    assert main(["export", "deit_tiny_patch16_224", *options]) == 2
    error = "kdna-zoo: the network takes no images of 3 x 32 x 32: Input height (32) doesn't match"
    assert error in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (
            '{"architecture": "test_kdna_resnet", "pretrained_cfg": {}}',
            "it is cut off or no safetensors file",
        ),
        ("{}", "config.json: architecture is None, and should name the network"),
        ("[]", "config.json: it holds a list, and should hold an object"),
    ],
)
def test_a_folder_that_holds_no_network(
    config: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_text("junk")
    options = ["--pretrained", "--format", "pt2", "--to", str(tmp_path / "a.pt2")]
    assert main(["export", f"local-dir:{tmp_path}", *options]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"kdna-zoo: refused {tmp_path}/")
    assert error in printed


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "kdna_resnet19", "--format", "pt2"]) == 2
    assert "no network named 'kdna_resnet19'; did you mean kdna_resnet1" in capsys.readouterr().err


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "ONNX_PACKAGES", ("onnx", "a_package_that_is_not_there"))
    assert main(["export", "test_kdna_resnet", "--format", "onnx"]) == 2
    error = capsys.readouterr().err
    assert "needs a_package_that_is_not_there" in error
    assert 'pip install "kdna-zoo[export]"' in error


def test_an_old_file_is_replaced_only_when_told(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_text("old")
    arguments = ["export", "test_kdna_resnet", "--format", "safetensors", "--to", str(file)]
    assert main(arguments) == 2
    assert file.read_text() == "old"
    assert main([*arguments, "--overwrite"]) == 0
    assert load_file(file)["fc.bias"].shape == (1000,)


class Branching(nn.Module):
    """Takes a way that depends on the values, which no exporter can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x.mean((1, 2)))
        return y if y.sum() > 0 else -y


def request(model: nn.Module, rebuild: nn.Module | None = None) -> Request:
    return Request(model.eval(), lambda: (rebuild or model).eval(), (3, 8, 4))


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(96, 4))
    other = nn.Sequential(nn.Flatten(), nn.Linear(96, 4), nn.Sigmoid())  # takes the same weights
    with pytest.raises(RunError, match="nothing was written: the safetensors file's output is"):
        export_network(request(model, other), tmp_path / "a.safetensors", "safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_gives_nan_is_not_written(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(96, 4))
    nn.init.constant_(model[1].bias, float("nan"))
    with pytest.raises(UserError, match="nothing was written: the network gives NaN"):
        export_network(request(model), tmp_path / "a.safetensors", "safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_exported_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot export this network as pt2: "):
        export_network(request(Branching()), tmp_path / "a.pt2", "pt2")
    assert list(tmp_path.iterdir()) == []
