"""The search for a learning rate, by Lightning's `LearningRateFinder`.

It departs from Lightning's in one thing: the run ends with the suggestion, in place of training on
with a rate that no recipe holds. What is written down can be repeated.
"""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.utilities import rank_zero_info

from kdna_zoo.errors import RunError, UserError
from kdna_zoo.training.compat import end_as_a_tuner


class RateFinder(LearningRateFinder):
    """Raise the learning rate from step to step, and suggest one for the recipe.

    The optimizer is the recipe's; one rate holds for all its groups, without layer decay.

    Args:
        steps: Steps of the search; 0 trains as usual.
        min_lr: Rate of the first step.
        max_lr: Rate of the last.
    """

    def __init__(self, steps: int = 0, min_lr: float = 1e-6, max_lr: float = 1.0) -> None:
        if steps < 0 or not 0 < min_lr < max_lr:
            raise UserError(
                "rate_finder.steps must be at least 0 and rate_finder.min_lr above 0 and below "
                f"rate_finder.max_lr, got {steps}, {min_lr} and {max_lr}"
            )
        super().__init__(min_lr, max_lr, num_training_steps=max(steps, 1), update_attr=False)
        self.steps = steps

    def lr_find(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Search, say what was found, and end the run.

        Raises:
            RunError: If the loss shows no rate to suggest.
        """
        super().lr_find(trainer, pl_module)
        found = self.optimal_lr.suggestion() if self.optimal_lr else None
        if found is None:
            raise RunError("the search found no learning rate; give it more rate_finder.steps")
        rank_zero_info(f"suggested learning rate: --model.optimizer.lr {found:.2g}")
        end_as_a_tuner()
