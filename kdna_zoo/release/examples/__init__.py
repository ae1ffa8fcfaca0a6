"""Example images that lie in the package, and what a network says of them.

The four pictures are of the embedded sample of Fashion-MNIST (MIT licence): numbers 0 to 3 of its
test images.
"""

from pathlib import Path

import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn

FOLDER = Path(__file__).parent


def example_logits(model: nn.Module) -> Tensor:
    """Return what a network says of the example images, prepared as it wants them: (4, classes)."""
    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    transform = create_transform(**config, is_training=False)
    mode = "RGB" if config["input_size"][0] == 3 else "L"
    pictures = [Image.open(file).convert(mode) for file in sorted(FOLDER.glob("*.png"))]
    images = torch.stack([transform(picture) for picture in pictures])  # (4, C, H, W)
    with torch.inference_mode():
        logits: Tensor = model.eval()(images)
    return logits


def logits_by_name(name: str, cache_dir: Path | None = None) -> Tensor:
    """Load a network by name with its weights and return what it says of the example images.

    Args:
        name: For ``timm.create_model``.
        cache_dir: Where to download to; an empty folder if nothing may come from a cache.
    """
    return example_logits(timm.create_model(name, pretrained=True, cache_dir=cache_dir))
