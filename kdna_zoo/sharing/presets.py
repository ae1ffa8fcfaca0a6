"""Who shares with whom in each family, as a function of the depths.

Source: the models of KernelDNA, arXiv 2503.23379 (ResNet-18, ResNet-50, MobileNetV2). The published
lists are instances of three rules, written here once:

* basic blocks: the second convolution of each block is a parent; it serves the first convolution
  of its own block, and in block 1 also the second one of block 0;
* bottlenecks: the 3x3 of each odd block comes from the block after it, block 0 stands apart;
* inverted bottlenecks: the last block of a stage serves all others but block 0.

Block 0 changes stride and width, so its kernels fit no other block's, except where named.
"""

from collections.abc import Mapping

from kdna_zoo.sharing.plan import Share, SharingPlan


def basic_block_plan(depths: Mapping[str, int], reduction: int = 4) -> SharingPlan:
    """Plan for ResNets of basic blocks; ``depths`` maps stage paths to block counts.

    With ``{"layer3": 3, "layer4": 3}`` this is the published ResNet-18.
    """
    shares = []
    for stage, depth in depths.items():
        if depth > 1:
            shares.append(Share(f"{stage}.0.conv2", f"{stage}.1.conv2", reduction))
        for block in range(1, depth):
            conv1, conv2 = f"{stage}.{block}.conv1", f"{stage}.{block}.conv2"
            shares.append(Share(conv1, conv2, reduction))
    return SharingPlan(tuple(shares))


def bottleneck_plan(depths: Mapping[str, int], reduction: int = 4) -> SharingPlan:
    """Plan for ResNets of bottlenecks, the 3x3 convolutions only.

    With ``{"layer3": 7, "layer4": 3}`` this is the published ResNet-50.
    """
    shares = [
        Share(f"{stage}.{block}.conv2", f"{stage}.{block + 1}.conv2", reduction)
        for stage, depth in depths.items()
        for block in range(1, depth - 1, 2)
    ]
    return SharingPlan(tuple(shares))


def inverted_bottleneck_plan(
    depths: Mapping[str, int], expand_reduction: int = 4, project_reduction: int = 24
) -> SharingPlan:
    """Plan for MobileNetV2, the 1x1 convolutions only; the depthwise 3x3 stay each block's own.

    The projection sees a six times wider input, hence its larger reduction. With
    ``{"blocks.2": 3, "blocks.3": 4, "blocks.4": 3, "blocks.5": 3}`` this is the published plan.
    """
    shares = [
        Share(f"{stage}.{block}.{conv}", f"{stage}.{depth - 1}.{conv}", reduction)
        for stage, depth in depths.items()
        for block in range(1, depth - 1)
        for conv, reduction in (("conv_pw", expand_reduction), ("conv_pwl", project_reduction))
    ]
    return SharingPlan(tuple(shares))
