"""What every child layer has: its parent, its adapter and its own bias.

The parent keeps its kernel, registered once. A child refers to the parent module without
registering it and reads ``parent.weight`` in each forward, so that no tensor stands twice in
``state_dict()`` and the tie survives ``deepcopy``, ``.to()`` and ``load_state_dict(assign=True)``.

Two departures serve the controls of an ablation: an adapter may lack its channel attention, its
static modulation or both, and a child may keep a kernel of its own, as its own parent.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Any, Generic, Literal, NoReturn, TypeVar, cast, get_args

import torch
from torch import Tensor, nn

from kdna_zoo.layers.channel_attention import ChannelAttention, NormName
from kdna_zoo.layers.kernels import modulate
from kdna_zoo.layers.static_modulation import StaticModulation

Parent = TypeVar("Parent", nn.Conv2d, nn.Linear)
AdapterName = Literal["full", "channel", "static", "none"]


class Child(nn.Module, Generic[Parent], ABC):
    """Base of `ChildConv2d` and `ChildLinear`.

    Args:
        parent: The layer that owns the kernel.
        in_channels: Channels of the child's input.
        channel_dim: Dimension of the channels, 1 (NCHW) or -1 (channels last, as ``nn.Linear``).
        bias: Whether the child has a bias (always its own, never the parent's).
        reduction: Bottleneck ratio r of the channel attention.
        norm: Norm inside the channel attention, ``"batch"`` (published) or ``"layer"``.
        adapter: What the child has of an adapter: ``"full"`` (published), ``"channel"`` attention
            alone, ``"static"`` modulation alone, or ``"none"``.
        device: Device of the adapter's parameters; the parent's if not given.
        dtype: Type of the adapter's parameters; the parent's if not given.

    Raises:
        ValueError: If there is no such adapter or norm, or the channel attention cannot be made.
    """

    bias: nn.Parameter | None
    channel_attn: ChannelAttention | nn.Identity
    modulation: StaticModulation | nn.Identity

    def __init__(
        self,
        parent: Parent,
        in_channels: int,
        channel_dim: int,
        bias: bool,
        reduction: int,
        norm: NormName,
        adapter: AdapterName,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if adapter not in get_args(AdapterName):
            raise ValueError(
                f"unknown adapter {adapter!r}; choose one of {', '.join(get_args(AdapterName))}"
            )
        weight = parent.weight
        device = weight.device if device is None else device
        dtype = weight.dtype if dtype is None else dtype
        self._parent: tuple[Parent] = (parent,)  # in a tuple: a reference, not a submodule
        self.reduction, self.norm, self.adapter = reduction, norm, adapter
        self.channel_attn, self.modulation = nn.Identity(), nn.Identity()
        if adapter in ("full", "channel"):
            self.channel_attn = ChannelAttention(
                in_channels, reduction, norm, channel_dim=channel_dim, device=device, dtype=dtype
            )
        if adapter in ("full", "static"):
            self.modulation = StaticModulation(weight.shape, device=device, dtype=dtype)
        if bias:
            self.bias = nn.Parameter(torch.zeros(weight.shape[0], device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)

    def __getattr__(self, name: str) -> Any:
        """Say of a weight that is not here where it is; all else as in any module."""
        if name == "weight" and not self.owns_kernel:
            raise AttributeError(
                f"a {type(self).__name__} has no weight of its own: it forms its kernel from its "
                "parent's. Fuse the network first, by kdna_zoo.fuse(model)"
            )
        return super().__getattr__(name)

    @property
    def parent(self) -> Parent:
        """The layer that owns the kernel."""
        return self._parent[0]

    @property
    def owns_kernel(self) -> bool:
        """Whether the child has a kernel of its own, and so is its own parent."""
        return self._parent[0] is self

    def child_kernel(self) -> Tensor:
        """Form W_j = W_p * (1 + a_f) * (1 + a_s), in the shape of the parent's kernel."""
        return cast("Tensor", self.modulation(_as_numbers(self.parent.weight)))

    def _kernel_now(self) -> Tensor:
        """Form the kernel to compute with now: in autocast's type, where kernels form it."""
        if not isinstance(self.modulation, nn.Identity):
            kernel = modulate(self.modulation, self.parent.weight)
            if kernel is not None:
                return kernel
        return self.child_kernel()

    def fuse(self) -> nn.Module:
        """Return the deployed form: the channel attention, if any, then an ordinary layer.

        The child kernel is formed once and baked in, and the attention's batch norm is folded.
        ``timm.utils.reparameterize_model`` calls this.
        """
        layer = self._ordinary(bias=self.bias is not None)
        layer.weight = nn.Parameter(self.child_kernel().detach().clone())  # never the parent's own
        layer.bias = cast("nn.Parameter", self.bias)  # or None
        if isinstance(self.channel_attn, nn.Identity):
            return layer.train(self.training)
        parts = OrderedDict[str, nn.Module](channel_attn=self.channel_attn.fuse(), layer=layer)
        return GatedLayer(parts).train(self.training)

    def fuse_attention(self) -> None:
        """Fold the batch norm of the channel attention, if any, and stay a child."""
        if not isinstance(self.channel_attn, nn.Identity):
            self.channel_attn = self.channel_attn.fuse()

    def __prepare_scriptable__(self) -> NoReturn:
        """Say to ``torch.jit.script`` what it cannot follow, before it says so in its own words."""
        raise RuntimeError(
            f"torch.jit.script cannot compile a {type(self).__name__}, which reads another layer's "
            "weight. Fuse the network first, by kdna_zoo.fuse(model), or use torch.jit.trace or "
            "torch.export"
        )

    @abstractmethod
    def _ordinary(self, bias: bool) -> Parent:
        """Return an ordinary layer of the child's geometry, without memory for its weight."""

    def _take_over(self, layer: nn.Conv2d | nn.Linear, own_kernel: bool) -> None:
        """Keep the bias and mode of the layer that this child replaces, and its kernel if asked."""
        self.bias = cast("nn.Parameter | None", layer.bias)
        if own_kernel:
            self.weight = layer.weight
            self._parent = (cast("Parent", self),)
        self.train(layer.training)


def _as_numbers(weight: Tensor) -> Tensor:
    """Return a weight to compute with; one that torchao quantized in place is written out."""
    if type(weight) is nn.Parameter:
        return weight
    dequantize = getattr(type(weight), "dequantize", Tensor.dequantize)
    return weight if dequantize is Tensor.dequantize else weight.dequantize()


class GatedLayer(nn.Sequential):
    """A fused child: its channel attention, then an ordinary layer with the baked kernel."""

    def __getattr__(self, name: str) -> Any:
        """Say of a weight why it cannot be had; all else as in any module."""
        if name == "weight":
            raise AttributeError(
                "this layer gates its input, so that its kernel cannot be merged with another; the "
                "network is fused as far as it goes"
            )
        return super().__getattr__(name)
