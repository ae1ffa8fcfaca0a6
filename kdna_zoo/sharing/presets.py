"""Who shares with whom in each family, as a function of the depths.

Source: the models of KernelDNA, arXiv 2503.23379 (ResNet-18, ResNet-50, MobileNetV2). The published
lists are instances of three rules, written here once:

* basic blocks (ResNet-18, -34): the second convolution of each block is a parent; it serves the
  first convolution of its own block, and in block 1 also the second one of block 0;
* alternate blocks (ResNet-50, -101): the layer in each odd block comes from the block after it;
* last block (MobileNetV2): the last block of a stage serves all others.

Block 0 changes stride and width, so its kernels fit no other block's, except where named. For
ConvNeXt nothing is published; it takes the rule of alternate blocks, which is our own choice.

``depths`` maps the path of each chosen stage's blocks to their number, such as ``{"layer3": 7}``.
``layers`` maps the path of each shared layer in a block to the reduction r of its attention.
"""

from collections.abc import Mapping

from kdna_zoo.layers import NormName
from kdna_zoo.sharing.plan import Share, SharingPlan


def basic_block_plan(
    depths: Mapping[str, int], reduction: int = 4, norm: NormName = "batch"
) -> SharingPlan:
    """Plan for basic blocks; ``{"layer3": 3, "layer4": 3}`` is the published ResNet-18."""
    shares = []
    for stage, depth in depths.items():
        if depth > 1:
            shares.append(Share(f"{stage}.0.conv2", f"{stage}.1.conv2", reduction))
        for block in range(1, depth):
            conv1, conv2 = f"{stage}.{block}.conv1", f"{stage}.{block}.conv2"
            shares.append(Share(conv1, conv2, reduction))
    return SharingPlan(tuple(shares), norm)


def alternate_blocks_plan(
    depths: Mapping[str, int], layers: Mapping[str, int], norm: NormName = "batch"
) -> SharingPlan:
    """Plan in which each odd block takes from the next.

    ``{"layer3": 7, "layer4": 3}`` with ``{"conv2": 4}`` is the published ResNet-50.
    """
    shares = [
        Share(f"{stage}.{block}.{layer}", f"{stage}.{block + 1}.{layer}", reduction)
        for stage, depth in depths.items()
        for block in range(1, depth - 1, 2)
        for layer, reduction in layers.items()
    ]
    return SharingPlan(tuple(shares), norm)


def last_block_plan(
    depths: Mapping[str, int], layers: Mapping[str, int], norm: NormName = "batch"
) -> SharingPlan:
    """Plan in which all blocks but the first take from the last.

    ``{"blocks.2": 3, "blocks.3": 4, "blocks.4": 3, "blocks.5": 3}`` with
    ``{"conv_pw": 4, "conv_pwl": 24}`` is the published MobileNetV2.
    """
    shares = [
        Share(f"{stage}.{block}.{layer}", f"{stage}.{depth - 1}.{layer}", reduction)
        for stage, depth in depths.items()
        for block in range(1, depth - 1)
        for layer, reduction in layers.items()
    ]
    return SharingPlan(tuple(shares), norm)
