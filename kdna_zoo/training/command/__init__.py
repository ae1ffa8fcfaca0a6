"""``kdna-zoo fit | validate | test | predict``: LightningCLI, what it is given, how it fails."""

from kdna_zoo.training.command.cli import CLI, run

__all__ = ["CLI", "run"]
