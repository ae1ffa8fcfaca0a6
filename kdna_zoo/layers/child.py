"""What every child layer has: its parent, its adapter and its own bias.

The parent keeps its kernel, registered once. A child refers to the parent module without
registering it and reads ``parent.weight`` in each forward, so that no tensor stands twice in
``state_dict()`` and the tie survives ``deepcopy``, ``.to()`` and ``load_state_dict(assign=True)``.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from kdna_zoo.layers.channel_attention import ChannelAttention, NormName
from kdna_zoo.layers.static_modulation import StaticModulation

Parent = TypeVar("Parent", nn.Conv2d, nn.Linear)


class Child(nn.Module, Generic[Parent], ABC):
    """Base of `ChildConv2d` and `ChildLinear`.

    Args:
        parent: The layer that owns the kernel.
        in_channels: Channels of the child's input.
        channel_dim: Dimension of the channels, 1 (NCHW) or -1 (channels last, as ``nn.Linear``).
        bias: Whether the child has a bias (always its own, never the parent's).
        reduction: Bottleneck ratio r of the channel attention.
        norm: Norm inside the channel attention, ``"batch"`` (published) or ``"layer"``.
        device: Device of the adapter's parameters; the parent's if not given.
        dtype: Type of the adapter's parameters; the parent's if not given.
    """

    bias: nn.Parameter | None
    channel_attn: ChannelAttention
    modulation: StaticModulation

    def __init__(
        self,
        parent: Parent,
        in_channels: int,
        channel_dim: int,
        bias: bool,
        reduction: int,
        norm: NormName,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        weight = parent.weight
        device = weight.device if device is None else device
        dtype = weight.dtype if dtype is None else dtype
        self._parent: tuple[Parent] = (parent,)  # in a tuple: a reference, not a submodule
        self.channel_attn = ChannelAttention(
            in_channels, reduction, norm, channel_dim=channel_dim, device=device, dtype=dtype
        )
        self.modulation = StaticModulation(weight.shape, device=device, dtype=dtype)
        if bias:
            self.bias = nn.Parameter(torch.zeros(weight.shape[0], device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)

    @property
    def parent(self) -> Parent:
        """The layer that owns the kernel."""
        return self._parent[0]

    def child_kernel(self) -> Tensor:
        """Form W_j = W_p * (1 + a_f) * (1 + a_s), in the shape of the parent's kernel."""
        return cast("Tensor", self.modulation(self.parent.weight))

    def fuse(self) -> nn.Sequential:
        """Return the deployed form: the channel attention, then an ordinary layer.

        The child kernel is formed once and baked in, and the attention's batch norm is folded.
        ``timm.utils.reparameterize_model`` calls this.
        """
        layer = self._ordinary(bias=self.bias is not None)
        layer.weight = nn.Parameter(self.child_kernel().detach().clone())  # never the parent's own
        layer.bias = cast("nn.Parameter", self.bias)  # or None
        parts = OrderedDict[str, nn.Module](channel_attn=self.channel_attn.fuse(), layer=layer)
        return nn.Sequential(parts).train(self.training)

    @abstractmethod
    def _ordinary(self, bias: bool) -> Parent:
        """Return an ordinary layer of the child's geometry, without memory for its weight."""

    def _take_over(self, layer: nn.Conv2d | nn.Linear) -> None:
        """Keep the bias and the mode of the layer that this child replaces."""
        self.bias = cast("nn.Parameter | None", layer.bias)
        self.train(layer.training)
