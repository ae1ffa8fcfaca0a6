"""The ``kdna-zoo`` command: one file for each sub-command, and those of training."""

from kdna_zoo.cli.app import COMPLETION, TRAINING, main, make_parser

__all__ = ["COMPLETION", "TRAINING", "main", "make_parser"]
