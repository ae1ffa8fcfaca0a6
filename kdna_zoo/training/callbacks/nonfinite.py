"""What happens when the loss, or a gradient, is not a finite number: the run stops, or passes on.

Looking at a number on a GPU makes the processor wait for it. So on a GPU, and where several ranks
have to agree, the loss of each step is only noted there, and looked at each few steps; no weights
that are not finite are saved in between (see `check_finite`).
"""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from kdna_zoo.errors import RunError, UserError

HOW_TO_GO_ON = (
    "the checkpoints of earlier steps are as they were. A lower --model.optimizer.lr or a longer "
    "--model.schedule.warmup_epochs often helps"
)


class NonFinite(Callback):
    """Stop a run at a loss that is not finite, or leave out such steps up to a number of them.

    A step that is left out moves neither weights nor optimizer nor batch norm's statistics; it
    counts as a step. To leave steps out, each gradient is looked at, at each step.

    Args:
        skip: Steps to leave out, in the whole run, before it stops.
    """

    def __init__(self, skip: int = 0) -> None:
        if skip < 0:
            raise UserError(f"skip_nonfinite must be at least 0, got {skip}")
        self.skip = skip
        self.skipped = 0
        self._first: Tensor | None = None  # step of the first bad loss; -1: none
        self._buffers: list[Tensor] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse to count where float16's scaler leaves out steps by itself, uncounted."""
        if self.skip and getattr(trainer.precision_plugin, "scaler", None) is not None:
            raise UserError(
                "--skip_nonfinite cannot limit the steps that trainer.precision 16-mixed leaves out"
                " by itself: leave it out, or train in bf16-mixed"
            )

    def state_dict(self) -> dict[str, Any]:
        """Keep the count."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped = state_dict["skipped"]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the statistics that the forward pass will change."""
        if self.skip and batch_idx % trainer.accumulate_grad_batches == 0:
            self._buffers = [buffer.clone() for buffer in pl_module.buffers()]

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Note a bad loss; look at it at once where that costs nothing."""
        if self.skip:
            return  # the gradients will tell
        if self._first is None:
            self._first = torch.full((), -1, device=loss.device)
        bad = ~torch.isfinite(loss.detach()) & (self._first < 0)
        self._first = torch.where(bad, trainer.global_step, self._first)
        if loss.device.type == "cpu" and trainer.world_size == 1:
            self._stop_if_bad(trainer)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Leave the step out if a gradient is bad: a parameter without gradient does not move."""
        if not self.skip:
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        bad = not bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients)))
        if not trainer.strategy.reduce_boolean_decision(bad, all=False):
            return
        self.skipped += 1
        at = f"at step {trainer.global_step} (epoch {trainer.current_epoch})"
        if self.skipped > self.skip:
            raise RunError(
                f"the loss or a gradient is not finite {at}, after {self.skip} such steps were "
                f"left out as --skip_nonfinite allows; {HOW_TO_GO_ON}"
            )
        rank_zero_warn(f"left out a step with a loss or gradient that is not finite, {at}")
        optimizer.zero_grad(set_to_none=True)
        for buffer, before in zip(pl_module.buffers(), self._buffers, strict=True):
            buffer.copy_(before)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the notes each ``log_every_n_steps`` batches, and after an epoch's last."""
        every = max(trainer.log_every_n_steps, 1)  # type: ignore[attr-defined]
        if (batch_idx + 1) % every == 0 or batch_idx + 1 >= trainer.num_training_batches:
            self._stop_if_bad(trainer)

    def _stop_if_bad(self, trainer: pl.Trainer) -> None:
        step = -1 if self._first is None else int(self._first)
        if trainer.world_size > 1:  # any rank's bad loss stops all of them
            noted = torch.tensor(step, device=trainer.strategy.root_device)
            step = int(trainer.strategy.reduce(noted, reduce_op="max"))
        if step >= 0:
            raise RunError(
                f"the loss is not finite since step {step} (epoch {trainer.current_epoch}); "
                f"{HOW_TO_GO_ON}"
            )
