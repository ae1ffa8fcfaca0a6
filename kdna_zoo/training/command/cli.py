"""The one LightningCLI call behind ``kdna-zoo fit | validate | test | predict``.

Under each recipe lies ``recipes/_base/default.yaml``; then come the recipe's ``--config`` files
from left to right, then the command line.
"""

import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
from jsonargparse import set_parsing_settings
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from kdna_zoo.data import ImageData
from kdna_zoo.data.resumable import ResumableData
from kdna_zoo.errors import KdnaZooError, UserError, did_you_mean
from kdna_zoo.paths import recipes_folder
from kdna_zoo.training.base_task import BaseTask
from kdna_zoo.training.callbacks.averaging import WeightAverage
from kdna_zoo.training.callbacks.head_first import HeadFirst
from kdna_zoo.training.callbacks.predictions import ImagesPerSecond, PredictionWriter
from kdna_zoo.training.callbacks.rate_finder import RateFinder
from kdna_zoo.training.classification import ImageClassifier
from kdna_zoo.training.command.config_files import check_config_files
from kdna_zoo.training.command.failures import condensed, explain, unknown
from kdna_zoo.training.command.given_checkpoint import (
    begun_from,
    check_unpickling,
    evaluated,
    learnt_names,
)
from kdna_zoo.training.command.groups import grouped_arguments, grouped_yaml
from kdna_zoo.training.command.interrupted import explained
from kdna_zoo.training.command.parse_errors import in_one_sentence
from kdna_zoo.training.command.parts import to_evaluate, to_train
from kdna_zoo.training.command.quiet import without_tips
from kdna_zoo.training.command.save_run import SaveRun
from kdna_zoo.training.command.trainer_options import check_trainer
from kdna_zoo.training.compat import option_names
from kdna_zoo.training.logging.loggers import quiet_threads
from kdna_zoo.training.resume.checkpointing import LastCheckpoint
from kdna_zoo.training.resume.finding import find_run
from kdna_zoo.user_modules import import_modules, split_imports

UNIMPORTABLE = r"No module named|Expected a dot import path"  # of a class that is asked for
LEARNT = "columns.learnt_names"
SUBCOMMANDS = ("fit", "validate", "test", "predict")
RESUME = (
    "go on with the newest run in trainer.default_root_dir that has a whole checkpoint, from the "
    "newest, in its folder; from the start where there is none. (--ckpt_path FILE begins a new run "
    "from it.)"
)
SKIP = "leave out up to so many steps with a loss or gradient that is not finite, before stopping"
NOISE = (  # warnings of Lightning that a user can do nothing about
    r".*LeafSpec.* is deprecated",  # in its own use of torch
    r".*callbacks used to create the checkpoint need to be provided",  # evaluation needs none
    r".*your dataloader is not resumable",  # ours begins at the trainer's own position
    r"Checkpoint directory .* exists and is not empty",  # a resumed run writes there
)


CALLBACKS = {  # under names of their own, so that a recipe's list of callbacks keeps them
    "checkpoint": ModelCheckpoint,
    "last_checkpoint": LastCheckpoint,
    "learning_rate": LearningRateMonitor,
    "throughput": ImagesPerSecond,
    "predictions": PredictionWriter,
    "ema": WeightAverage,
    "head_first": HeadFirst,
    "rate_finder": RateFinder,
}


class CLI(LightningCLI):
    """LightningCLI with this package's callbacks, loggers and records, by its public hooks."""

    @property
    def flat_options(self) -> Mapping[str, str]:
        """The group of each option of the data that may be given without it."""
        return getattr(self.datamodule_class, "flat_options", {})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of our callbacks; which of them a trainer gets is decided later."""
        for name, kind in CALLBACKS.items():
            parser.add_class_arguments(kind, name, fail_untyped=False, sub_configs=True)
        parser.add_argument("--resume", action="store_true", help=RESUME)
        parser.add_argument("--skip_nonfinite", type=int, default=0, help=SKIP)
        takes = signature(self.model_class).parameters  # type: ignore[arg-type]
        if "num_classes" in takes:
            parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        if "in_chans" in takes:
            parser.link_arguments("data.input_size", "model.in_chans", compute_fn=_channels)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse ``sys.argv``, whose ``--import`` options were heeded; find or check a checkpoint.

        ``ckpt_path`` is out of sight until classes are made: Lightning would take options from it.
        """
        arguments = split_imports(sys.argv[1:])[1]
        self.config = parser.parse_args(grouped_arguments(arguments, self.flat_options))
        config, fits = self.config[self.config.subcommand], self.config.subcommand == "fit"
        check_unpickling(config)
        self.resumption = find_run(config) if fits else None
        if self.resumption is not None:
            self.checkpoint: Path | None = self.resumption.checkpoint
        else:
            self.checkpoint = begun_from(config) if fits else evaluated(config)
        self.asked_for, config.ckpt_path = config.ckpt_path, None

    def before_instantiate_classes(self) -> None:
        """Keep a run's folder for training alone; evaluate by the classes that were learnt."""
        config = self.config[self.subcommand]
        config.ckpt_path = self.asked_for  # which is what the saved configuration says
        if self.subcommand != "fit":
            self.save_config_callback = None
            if config.data.get(LEARNT, ()) is None:
                config.data[LEARNT] = learnt_names(self.checkpoint, config.model.arch)

    def instantiate_trainer(self, **options: Any) -> pl.Trainer:
        """Give the trainer the loggers and callbacks that its sub-command has a use for."""
        made = self.config_init[self.subcommand]
        trainer = {**made.trainer, **options}
        if self.subcommand == "fit":
            check_trainer(trainer)
            trainer = to_train(trainer, made, self.resumption)
        else:
            trainer = to_evaluate(trainer, made, str(self.subcommand))
        try:
            return super().instantiate_trainer(**trainer)
        except ValueError as error:
            raise UserError(f"the trainer cannot be made: {error}") from error

    def fit(self, **given: Any) -> None:
        """Train."""
        self._run(self.trainer.fit, given)

    def validate(self, **given: Any) -> None:
        """Evaluate on the validation split."""
        self._run(self.trainer.validate, given)

    def test(self, **given: Any) -> None:
        """Evaluate on the test split."""
        self._run(self.trainer.test, given)

    def predict(self, **given: Any) -> None:
        """Predict on the test split."""
        self._run(self.trainer.predict, given)

    def _run(self, subcommand: Callable[..., Any], given: dict[str, Any]) -> None:
        """Run with the checkpoint that was found; whatever ends it has a line for the user."""
        found = str(self.checkpoint) if self.checkpoint else None
        try:
            with explained(self.trainer):  # one that is interrupted says what is left
                subcommand(**{**given, "ckpt_path": found, "weights_only": True})
        except KdnaZooError:
            raise
        except Exception as error:
            saves = (call for call in self.trainer.callbacks if isinstance(call, SaveRun))  # type: ignore[attr-defined]
            folder = next((call.folder for call in saves), None)
            raise explain(error) or unknown(error, folder, self.trainer.global_rank) from error


def _channels(input_size: Sequence[int] | None) -> int | None:
    return input_size[0] if input_size else None


NO_GROUPS: Mapping[str, str] = {}


class Parser(LightningArgumentParser):
    """LightningCLI's parser, whose errors are one message in place of the whole usage.

    Args:
        *args: As LightningCLI has them.
        flat_options: The group of each option of the data that may be given without it.
        **options: As LightningCLI has them.
    """

    def __init__(
        self, *args: Any, flat_options: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.flat_options = flat_options or {}

    def parse_string(self, content: str, *args: Any, **options: Any) -> Any:
        """Parse a configuration, such as that of a file, whose options may lack their groups."""
        return super().parse_string(grouped_yaml(content, self.flat_options), *args, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong, with the nearest options where one is unknown."""
        message = (
            condensed(message) if re.search(UNIMPORTABLE, message) else in_one_sentence(message)
        )
        unknown = re.search(r"option '([\w.]+)'|arguments?: --([\w.]+)", message)
        hint = "kdna-zoo fit --help lists all options"
        if unknown:
            hint = self._hint(unknown[1] or unknown[2]) or hint
        raise UserError(f"{message}; {hint}") from ex

    def _hint(self, unknown: str) -> str:
        name = unknown.removeprefix("data.")
        if name in self.flat_options:  # where no file is regrouped, as in --data FILE
            return f"it is data.{self.flat_options[name]}.{name}"
        return did_you_mean(unknown, set(option_names(self)), "")


def run(
    arguments: Sequence[str],
    task: type[BaseTask] = ImageClassifier,
    data: type[ResumableData] = ImageData,
) -> CLI:
    """Run one of the sub-commands with its arguments, as ``kdna-zoo ARGUMENTS`` does.

    ``sys.argv`` is set for the time of the call: Lightning starts further processes from it.

    Args:
        arguments: The sub-command and its options.
        task: What is trained.
        data: What it is trained on.
    """
    imports, others = split_imports(arguments)
    check_config_files(others, imports)
    import_modules(imports)
    set_parsing_settings(add_print_completion_argument=True)
    before = sys.argv
    sys.argv = [before[0], *arguments]
    defaults = [str(recipes_folder() / "_base" / "default.yaml")]
    of_each = {"default_config_files": defaults, "flat_options": data.flat_options}
    try:
        with warnings.catch_warnings(), quiet_threads(), without_tips():
            for noise in NOISE:
                warnings.filterwarnings("ignore", noise)
            return CLI(
                task,
                data,
                save_config_callback=SaveRun,
                save_config_kwargs={"overwrite": True},  # only in a folder that the user fixed
                parser_class=Parser,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                parser_kwargs={
                    "prog": "kdna-zoo",
                    "flat_options": data.flat_options,
                    **{name: of_each for name in SUBCOMMANDS},
                },
            )
    except KdnaZooError:
        raise
    except Exception as error:
        if known := explain(error):
            raise known from error
        raise
    finally:
        sys.argv = before
