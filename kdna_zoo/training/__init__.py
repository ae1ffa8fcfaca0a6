"""Training on Lightning: modules, callbacks and the one LightningCLI call."""

from kdna_zoo.training.base_task import BaseTask
from kdna_zoo.training.callbacks.annealing import Annealing
from kdna_zoo.training.callbacks.predictions import ImagesPerSecond, PredictionWriter
from kdna_zoo.training.classification import ImageClassifier
from kdna_zoo.training.optim import OptimizerConfig, ScheduleConfig

__all__ = [
    "Annealing",
    "BaseTask",
    "ImageClassifier",
    "ImagesPerSecond",
    "OptimizerConfig",
    "PredictionWriter",
    "ScheduleConfig",
]
