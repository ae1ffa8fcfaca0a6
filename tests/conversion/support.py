"""Networks for the tests of conversion, with weights and statistics as after a training."""

import timm
import torch
from torch import Tensor, nn

from kdna_zoo.conversion.spaces import Orders, Space


def trained_like(name: str, seed: int = 0, **arguments: object) -> nn.Module:
    """A network of timm in eval mode, whose vectors and statistics are nobody's default."""
    torch.manual_seed(seed)
    model: nn.Module = timm.create_model(name, **arguments).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    for key, buffer in model.named_buffers():
        if "running_var" in key:
            buffer.data = 0.5 + torch.rand_like(buffer)
        elif "running_mean" in key:
            buffer.data = 0.1 * torch.randn_like(buffer)
    return model


def random_orders(spaces: list[Space], seed: int = 0) -> Orders:
    """An order for each space, drawn at random among those that keep its blocks together."""
    generator = torch.Generator().manual_seed(seed)
    blocks: dict[int, Tensor] = {}
    orders = {}
    for index, space in enumerate(spaces):
        if space.bundle not in blocks:
            drawn = torch.randperm(space.blocks, generator=generator)
            blocks[space.bundle] = torch.arange(space.blocks) if space.ordered else drawn
        width = space.size // space.blocks
        orders[index] = torch.cat(
            [b * width + torch.randperm(width, generator=generator) for b in blocks[space.bundle]]
        )
    return orders
