"""Training on Lightning: modules, callbacks and the one LightningCLI call."""

from kdna_zoo.training.callbacks import ImagesPerSecond, PredictionWriter
from kdna_zoo.training.classification import ImageClassifier
from kdna_zoo.training.optim import OptimizerConfig, ScheduleConfig

__all__ = [
    "ImageClassifier",
    "ImagesPerSecond",
    "OptimizerConfig",
    "PredictionWriter",
    "ScheduleConfig",
]
