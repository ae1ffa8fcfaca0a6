"""Channel attention: the dynamic, input-dependent half of a KernelDNA adapter.

Source: KernelDNA, arXiv 2503.23379. For a child j,

    g_j(x) = sigmoid(FC2(ReLU(norm(FC1(GAP(x))))))      and the child sees  x * g_j(x)

It scales the input feature map and not the kernel, so all samples of a batch share one kernel and
a child costs what an ordinary convolution costs.

Departures: FC1 and FC2, 1x1 convolutions in the paper, are linear layers on the pooled vector
(the same sums, several times faster on a CPU). The norm is a choice: the published BatchNorm, or a
LayerNorm, which also trains with one image on a device.

On an NVIDIA GPU `kdna_zoo.layers.kernels` computes the same in fewer launches, where it can.

Shapes: N batch, I input channels, R = max(I // reduction, 1) hidden channels, H W; ... any sizes.
"""

from typing import Literal, get_args

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdna_zoo.layers.folding import fold_batch_norm
from kdna_zoo.layers.kernels import attend

NormName = Literal["batch", "layer"]


class ChannelAttention(nn.Module):
    """Scale each input channel by a gate in (0, 1) computed from the pooled input.

    Args:
        channels: Input channels I.
        reduction: Bottleneck ratio r; the hidden width is I // r, at least 1. Published: 4, and 24
            for the projection convolutions of MobileNetV2.
        norm: Normalisation of the hidden vector, ``"batch"`` as published or ``"layer"``.
        channel_dim: Where the channels are: 1, as convolutions have them, or -1, as linear layers.
        device: Device of the parameters.
        dtype: Type of the parameters.

    Shape:
        - Input: (N, I, H, W), or (N, ..., I) with ``channel_dim=-1``
        - Output: as the input

    Raises:
        ValueError: If ``norm`` is neither choice, ``reduction`` is below 1, or a layer norm would
            see one channel; on a forward in training mode with a batch norm and a single image.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        norm: NormName = "batch",
        *,
        channel_dim: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, got {reduction}")
        if channel_dim not in (1, -1):
            raise ValueError(f"channel_dim must be 1 or -1, got {channel_dim}")
        self.channel_dim = channel_dim
        hidden = max(channels // reduction, 1)
        if norm == "layer" and hidden == 1:
            raise ValueError(
                "a LayerNorm needs two hidden channels or it is constant: "
                f"{channels} channels over reduction {reduction} leave 1"
            )
        self.fc1 = nn.Linear(channels, hidden, bias=False, device=device, dtype=dtype)
        self.norm = _make_norm(norm, hidden, device, dtype)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(hidden, channels, device=device, dtype=dtype)

    def gate(self, pooled: Tensor) -> Tensor:
        """Compute the gate from the pooled input: (N, I) -> (N, I)."""
        # torch.jit.script knows no class by its name, and passes over such an `if` only.
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            self._check_images(pooled)
        h = self.fc1(pooled)  # (N, R)
        # The norm sees (N, R, 1, 1), so that SyncBatchNorm and frozen-BN conversions apply to it.
        h = self.norm(h[:, :, None, None]).flatten(1)
        return torch.sigmoid(self.fc2(self.act(h)))

    @torch.jit.unused
    def _check_images(self, pooled: Tensor) -> None:
        if isinstance(self.norm, nn.BatchNorm2d) and self.norm.training:  # not if frozen by eval()
            _require_two_images(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Return x * g(x)."""
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            y = attend(self, x)
            if y is not None:
                return y
        if self.channel_dim == 1:
            return x * self.gate(x.mean(dim=(2, 3)))[:, :, None, None]
        flat = x.reshape(x.shape[0], -1, x.shape[-1])  # (N, L, I), a view of contiguous input
        return (flat * self.gate(flat.mean(dim=1))[:, None]).reshape(x.shape)

    def fuse(self) -> "ChannelAttention":
        """Return a copy for inference with the batch norm folded into FC1."""
        fused = ChannelAttention.__new__(ChannelAttention)
        nn.Module.__init__(fused)
        foldable = isinstance(self.norm, _BatchNorm)  # SyncBatchNorm too
        fused.channel_dim = self.channel_dim
        fused.fc1 = fold_batch_norm(self.fc1, self.norm) if foldable else self.fc1
        fused.norm = nn.Identity() if foldable else self.norm
        fused.act = self.act
        fused.fc2 = self.fc2
        return fused.train(self.training)

    def extra_repr(self) -> str:
        """Summarise the layer in the network's printout."""
        return f"channels={self.fc1.in_features}, hidden={self.fc1.out_features}"


@torch.fx.wrap  # a step of its own in a trace, whose shapes are not known
def _require_two_images(pooled: Tensor) -> None:
    if pooled.shape[0] == 1:
        raise ValueError(
            "BatchNorm in the channel attention cannot train on a batch of one image: use at least "
            'two images on each device, or a LayerNorm there: attn_norm="layer" for a kdna_* '
            'network of timm, norm="layer" for a sharing plan'
        )


def _make_norm(
    norm: NormName, hidden: int, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(hidden, device=device, dtype=dtype)
    if norm == "layer":  # one group over (R, 1, 1) is a LayerNorm over R
        return nn.GroupNorm(1, hidden, device=device, dtype=dtype)
    raise ValueError(f"unknown norm {norm!r}; choose one of {', '.join(get_args(NormName))}")
