"""Batch norms whose statistics are taken over all devices (``trainer.sync_batchnorm``).

Lightning converts them by torch, which takes timm's norms with an activation (`BatchNormAct2d`, in
MobileNetV2 and its kin) for plain ones: the activations would be gone, in training and in all that
comes after it. So timm converts them here, and the norms of before come back after the run.
"""

from typing import Any

from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class SyncNorms(TorchSyncBatchNorm):
    """Synchronise a network's batch norms for the time of a run; activations stay."""

    def __init__(self) -> None:
        self._before: dict[str, nn.Module] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Put a synchronised norm, with the same parameters and buffers, in each one's place."""
        norms = model.named_modules()
        self._before = {path: norm for path, norm in norms if isinstance(norm, _BatchNorm)}
        converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the norms of before back, as training has left their parameters and buffers."""
        for path, norm in self._before.items():
            trained: Any = model.get_submodule(path)
            own = (*trained.named_parameters(recurse=False), *trained.named_buffers(recurse=False))
            for name, tensor in own:
                setattr(norm, name, tensor)
            norm.train(trained.training)
            parent, _, last = path.rpartition(".")
            setattr(model.get_submodule(parent), last, norm)
        self._before = {}
        return model
