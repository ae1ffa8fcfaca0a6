"""The equations of KernelDNA as layers; imports torch only, and Triton where kernels run."""

from kdna_zoo.layers.channel_attention import ChannelAttention, NormName
from kdna_zoo.layers.child import AdapterName, Child
from kdna_zoo.layers.child_conv import ChildConv2d
from kdna_zoo.layers.child_linear import ChildLinear
from kdna_zoo.layers.folding import fold_batch_norm
from kdna_zoo.layers.static_modulation import StaticModulation

__all__ = [
    "AdapterName",
    "ChannelAttention",
    "Child",
    "ChildConv2d",
    "ChildLinear",
    "NormName",
    "StaticModulation",
    "fold_batch_norm",
]
