"""Every kind of image loads as RGB and upright; what is no image is named."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from kdna_zoo.data import ImageData, decode
from kdna_zoo.data.decode import UnreadableImageError, decode_image
from tests.data.conftest import picture, write_folder, write_parquet


def encode(image: Image.Image, **options: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **options})
    return {"bytes": buffer.getvalue(), "path": None}


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> Any:
    assert image.mode == "RGB"
    return image.getpixel((x, y))


@pytest.mark.parametrize(
    ("mode", "colour", "options", "expected"),
    [
        ("RGB", (10, 20, 30), {}, (10, 20, 30)),
        ("L", 77, {}, (77, 77, 77)),
        ("1", 1, {}, (255, 255, 255)),
        ("LA", (77, 9), {}, (77, 77, 77)),
        ("RGBA", (10, 20, 30, 40), {}, (10, 20, 30)),
        ("CMYK", (0, 255, 255, 0), {"format": "TIFF"}, (255, 0, 0)),
        ("CMYK", (0, 0, 0, 0), {"format": "JPEG"}, (255, 255, 255)),
        ("I;16", 65535, {}, (255, 255, 255)),
        ("I;16", 257 * 100, {}, (100, 100, 100)),
        ("I;16B", 257 * 100, {"format": "TIFF"}, (100, 100, 100)),
        ("I", 257 * 100, {"format": "TIFF"}, (100, 100, 100)),
    ],
)
def test_modes(mode: str, colour: Any, options: dict[str, Any], expected: Any) -> None:
    assert pixel(decode_image(encode(Image.new(mode, (4, 4), colour), **options))) == expected


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80"])
def test_palette(transparency: Any, caplog: pytest.LogCaptureFixture) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    options = {} if transparency is None else {"transparency": transparency}
    assert pixel(decode_image(encode(image, **options))) == (40, 50, 60)
    assert not caplog.messages


def test_what_pillow_warns_of_is_said_once_with_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    monkeypatch.setattr(decode, "_said", set())
    for index in range(12):
        picture(index, size=5).save(tmp_path / f"{index}.png")
        for _ in range(2):
            decode_image({"bytes": None, "path": str(tmp_path / f"{index}.png")})
    assert len(caplog.messages) == 11
    assert caplog.messages[0].startswith(f"{tmp_path}/0.png: Image size (25 pixels) exceeds limit")
    assert caplog.messages[-1] == "more images with warnings are not listed"


STORED = {  # EXIF orientation -> how a camera stores an upright (H, W, C) picture
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(orientation: int) -> None:
    upright = np.asarray(picture(0).resize((16, 8)))
    stored = np.ascontiguousarray(STORED[orientation](upright))
    exif = Image.Exif()
    exif[274] = orientation
    image = decode_image(encode(Image.fromarray(stored), exif=exif))
    assert np.array_equal(np.asarray(image), upright)


def test_grey_where_the_network_wants_it() -> None:
    image = decode_image(encode(Image.new("RGB", (4, 4), (255, 0, 0))), "L")
    assert (image.mode, image.getpixel((0, 0))) == ("L", 76)


def test_floating_point_pixels() -> None:
    with pytest.raises(UnreadableImageError, match="floating-point pixels have no agreed range"):
        decode_image(encode(Image.new("F", (4, 4)), format="TIFF"))


@pytest.mark.parametrize("encoded", [None, {"bytes": None, "path": None}])
def test_missing_image(encoded: Any) -> None:
    with pytest.raises(UnreadableImageError, match=r"^there is no image$"):
        decode_image(encoded)


def failure(loader: DataLoader[Any]) -> str:
    """Reads until the error comes, and stops the workers, which wait for 5 s otherwise."""
    with pytest.raises(UnreadableImageError) as caught:
        list(loader)
    if loader.num_workers:
        loader._iterator._shutdown_workers()
    return str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_file_that_is_no_image(tmp_path: Path, workers: int) -> None:
    write_folder(tmp_path, {"train": {"cat": 2, "dog": 2}, "test": {"cat": 1, "dog": 1}})
    broken = tmp_path / "test" / "dog" / "0.png"
    broken.write_text("no image")
    data = ImageData(str(tmp_path), input_size=(3, 8, 8), num_workers=workers)
    data.setup("test")
    assert failure(data.test_dataloader()) == (
        f"The image of row 1 ({broken}) of split 'test' of data set '{tmp_path}' cannot be read: "
        "it is no image that PIL knows. Repair it, take it out of the data set, or set "
        "on_bad_image to skip."
    )


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_truncated_image_in_parquet(tmp_path: Path, format: str) -> None:
    whole = encode(picture(0, 64), format=format)["bytes"]
    file = write_parquet(tmp_path / "p.parquet", [0, 1], images=[whole, whole[:-200]])
    data = ImageData(str(file), val_split="train", input_size=(3, 8, 8))
    with pytest.raises(UnreadableImageError, match=r"row 1 of split 'train' of .*truncated"):
        list(data.val_dataloader())


def test_file_that_has_gone(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": {"cat": 1, "dog": 1}})
    data = ImageData(str(tmp_path), val_split="train", input_size=(3, 8, 8))
    data.setup("fit")
    (tmp_path / "train" / "cat" / "0.png").unlink()
    with pytest.raises(UnreadableImageError, match=r"row 0 \(.*0\.png\) .*: the file is not there"):
        list(data.val_dataloader())


def test_sixteen_bits_are_scaled_all_the_way_to_the_batch(tmp_path: Path) -> None:
    for name, value in {"dark": 257 * 51, "light": 257 * 204}.items():
        (tmp_path / name).mkdir()
        Image.new("I;16", (8, 8), value).save(tmp_path / name / "0.png")
    data = ImageData(
        str(tmp_path),
        val_split="train",
        input_size=(3, 8, 8),
        crop_pct=1.0,
        mean=(0.0,),
        std=(1.0,),
    )
    images, labels = next(iter(data.val_dataloader()))
    assert labels.tolist() == [0, 1]
    assert torch.allclose(images[0], torch.tensor(0.2))
    assert torch.allclose(images[1], torch.tensor(0.8))
