"""Multiply-adds of a network, counted by ``torch.utils.flop_counter`` and not by a formula.

Counted are the sums of products: convolutions, linear layers and the matrix products of attention,
for one image. Not counted are norms, activations, pooling and elementwise products, among them the
scaling of a child's input; this is how torchvision and timm state theirs. fvcore, with which the
paper's networks were counted, adds two for each element that a norm puts out: 0.3 % for ResNet-18,
4 % for MobileNetV2.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(model: nn.Module, input_size: Sequence[int]) -> int:
    """Count the multiply-adds of a forward pass of one image.

    Args:
        model: A network in eval mode; on the meta device the count costs neither time nor memory.
        input_size: Channels, height and width of the image.
    """
    return sum(macs_by_layer(model, input_size).values())


def macs_by_layer(model: nn.Module, input_size: Sequence[int]) -> dict[str, int]:
    """Count the multiply-adds that each module does itself, outside of its submodules.

    Args:
        model: A network in eval mode.
        input_size: Channels, height and width of the image.

    Returns:
        Module path -> multiply-adds, where there are any; the network itself is ``""``.
    """
    device = next(model.parameters()).device
    image = torch.empty(1, *input_size, device=device)  # (N, C, H, W)
    # With gradients: without, torch's module tracker stumbles over networks such as CaiT.
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        model(image)
    flops = {  # torch's names start with the network's class
        name.partition(".")[2]: sum(operations.values())
        for name, operations in counter.get_flop_counts().items()
        if name != "Global"
    }
    own = dict(flops)
    for path, count in flops.items():
        outer = path
        while outer:
            outer = outer.rpartition(".")[0]
            if outer in own:  # the nearest module around it that was called
                own[outer] -= count
                break
    return {path: count // 2 for path, count in own.items() if count}
