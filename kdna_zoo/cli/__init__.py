"""The ``kdna-zoo`` command: one file for each sub-command, and those of training."""

from kdna_zoo.cli.app import COMPLETION, main, make_parser
from kdna_zoo.cli.commands import TRAINING

__all__ = ["COMPLETION", "TRAINING", "main", "make_parser"]
