"""A tiny training run that leaves the checkpoints a release starts from."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import timm
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from .support import ARCH, LABELS, SIZE


class TinyClassifier(L.LightningModule):
    """As the package's own module: the network is `model`, the record goes into checkpoints."""

    def __init__(self, record: dict[str, Any] | None, arch: str = ARCH) -> None:
        super().__init__()
        self.record = record
        self.model: nn.Module = timm.create_model(arch, num_classes=len(LABELS))
        self.loss = nn.CrossEntropyLoss(weight=torch.ones(len(LABELS)))  # a key without `model.`

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        loss: Tensor = self.loss(self.model(images), labels)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.record is not None:
            checkpoint["kdna_zoo"] = self.record


def train(folder: Path, module: L.LightningModule, *callbacks: Callback) -> Path:
    """Trains for three steps and returns the checkpoint saved after the third, within the fit."""
    torch.manual_seed(0)
    images, labels = torch.randn(12, 3, SIZE, SIZE), torch.randint(0, len(LABELS), (12,))
    saver = ModelCheckpoint(folder, filename="step", every_n_train_steps=3)
    trainer = L.Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks, saver],
    )
    trainer.fit(module, DataLoader(TensorDataset(images, labels), batch_size=4))
    return folder / "step.ckpt"
