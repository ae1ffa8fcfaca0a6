"""What the dynamic convolutions have in common: geometry, the squeezed input, a schedule."""

from typing import cast

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from kdna_zoo.errors import UserError
from kdna_zoo.peers.per_sample import Geometry


class PeerError(UserError):
    """A dynamic convolution cannot take the place asked for."""


class DynamicConv2d(nn.Module):
    """Base of the dynamic convolutions: the geometry and the bias of the one they replace.

    Args:
        conv: The convolution to replace. Its weight is not used: each operator starts its kernels
            by its own rule.

    Raises:
        PeerError: If it pads with anything but zeros, or with a number that is not written out.
    """

    bias: nn.Parameter | None

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
            raise PeerError(
                f"a dynamic convolution pads with zeros, so many at each side; got padding "
                f"{conv.padding!r} with mode {conv.padding_mode!r}"
            )
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.geometry = Geometry(
            tuple(conv.weight.shape), conv.stride, conv.padding, conv.dilation, conv.groups
        )
        self.bias = cast("nn.Parameter | None", conv.bias)

    @property
    def counts_images(self) -> bool:
        """Whether a graph of this layer is for one batch size; see per_sample.py."""
        shape, _, padding, _, groups = self.geometry
        return shape[2:] != (1, 1) or groups != 1 or any(padding)

    def extra_repr(self) -> str:
        """Summarise the layer in the network's printout."""
        shape, stride, _, _, groups = self.geometry
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={shape[2:]}, stride={stride}, "
            f"groups={groups}"
        )


class Annealed(nn.Module):
    """A layer with a value that training moves from a start to an end.

    The value is a buffer, so that a checkpoint holds it. It stands at its end until something
    calls `anneal`, as a callback of the training loop does.

    Attributes:
        start: The value at the beginning of training.
        end: The value after `anneal_epochs`.
        anneal_epochs: How long it moves, in epochs, in the published settings.
    """

    start: float
    end: float
    anneal_epochs: float
    annealed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("annealed", torch.tensor(self.end))

    def anneal(self, progress: float) -> None:
        """Set the value at a progress of 0 (start) to 1 (end), on a straight line."""
        self.annealed.fill_(self.start + (self.end - self.start) * min(max(progress, 0.0), 1.0))


class Squeeze(nn.Module):
    """The input squeezed to a small vector: GAP, linear without bias, norm if any, ReLU.

    Args:
        channels: Channels of the input.
        hidden: Size of the vector.
        norm: Whether to have a BatchNorm before the ReLU.

    Shape:
        - Input: (N, I, H, W)
        - Output: (N, hidden)
    """

    def __init__(self, channels: int, hidden: int, norm: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, hidden, bias=False)
        self.norm = nn.BatchNorm2d(hidden) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the vector."""
        h = self.fc(x.mean(dim=(2, 3)))
        if self.norm is not None:
            if isinstance(self.norm, nn.BatchNorm2d) and self.norm.training:
                require_two_images(h)
            # The norm sees (N, R, 1, 1), so that SyncBatchNorm and frozen norms apply to it.
            h = self.norm(h[:, :, None, None]).flatten(1)
        return F.relu(h)


@torch.fx.wrap  # a step of its own in a trace, whose shapes are not known
def require_two_images(pooled: Tensor) -> None:
    """Check that a batch norm over pooled vectors has something to normalise."""
    if pooled.shape[0] == 1:
        raise PeerError(
            "the BatchNorm in this attention cannot train on a batch of one image: use at least "
            "two images on each device"
        )
