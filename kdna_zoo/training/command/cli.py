"""The one LightningCLI call behind ``kdna-zoo fit | validate | test | predict``.

Under each recipe lies ``recipes/_base/default.yaml``; then come the recipe's ``--config`` files
from left to right, then the command line.
"""

import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
from jsonargparse import set_parsing_settings
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.layer_sync import LayerSync

from kdna_zoo.data import ImageData
from kdna_zoo.errors import KdnaZooError, UserError, did_you_mean
from kdna_zoo.paths import recipes_folder
from kdna_zoo.training.callbacks.averaging import WeightAverage
from kdna_zoo.training.callbacks.head_first import HeadFirst
from kdna_zoo.training.callbacks.network_line import NetworkLine
from kdna_zoo.training.callbacks.nonfinite import NonFinite
from kdna_zoo.training.callbacks.predictions import ImagesPerSecond, PredictionWriter
from kdna_zoo.training.callbacks.progress import make_progress
from kdna_zoo.training.callbacks.rate_finder import RateFinder
from kdna_zoo.training.callbacks.stopping import StayStopped, StopAfter
from kdna_zoo.training.callbacks.summary import RunSummary
from kdna_zoo.training.classification import ImageClassifier
from kdna_zoo.training.command.config_files import check_config_files
from kdna_zoo.training.command.failures import condensed, explain, unknown
from kdna_zoo.training.command.given_checkpoint import (
    begun_from,
    check_unpickling,
    evaluated,
    learnt_names,
)
from kdna_zoo.training.command.interrupted import explained
from kdna_zoo.training.command.parse_errors import in_one_sentence
from kdna_zoo.training.command.quiet import without_tips
from kdna_zoo.training.command.save_run import SaveRun
from kdna_zoo.training.command.trainer_options import check_trainer
from kdna_zoo.training.logging.loggers import make_loggers, quiet_threads
from kdna_zoo.training.resume.checkpointing import LastCheckpoint, SafeCheckpointIO
from kdna_zoo.training.resume.finding import find_run
from kdna_zoo.training.resume.random_states import RandomStates
from kdna_zoo.training.sync_norm import SyncNorms
from kdna_zoo.user_modules import import_modules, split_imports

UNIMPORTABLE = r"No module named|Expected a dot import path"  # of a class that is asked for
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


class CLI(LightningCLI):
    """LightningCLI with this package's callbacks, loggers and records."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our callbacks under names of their own, so that a recipe's list keeps them."""
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_argument("--resume", action="store_true", help=RESUME)
        parser.add_argument("--skip_nonfinite", type=int, default=0, help=SKIP)
        parser.add_lightning_class_args(LearningRateMonitor, "learning_rate")
        parser.add_lightning_class_args(ImagesPerSecond, "throughput")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        parser.add_lightning_class_args(WeightAverage, "ema")
        parser.add_lightning_class_args(HeadFirst, "head_first")
        parser.add_lightning_class_args(RateFinder, "rate_finder")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.link_arguments("data.input_size", "model.in_chans", compute_fn=_channels)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse ``sys.argv``, whose ``--import`` options were heeded before."""
        self.config = parser.parse_args(split_imports(sys.argv[1:])[1])

    def _parse_ckpt_path(self) -> None:
        """Find or check a checkpoint before anything is built; take no options from it."""
        config, fits = self.config[self.config.subcommand], self.config.subcommand == "fit"
        check_unpickling(config)
        self.resumption = find_run(config) if fits else None
        if self.resumption is not None:
            self.checkpoint: Path | None = self.resumption.checkpoint
        else:
            self.checkpoint = begun_from(config) if fits else evaluated(config)

    def before_instantiate_classes(self) -> None:
        """Keep a run's folder for training alone; evaluate by the classes that were learnt."""
        if self.subcommand != "fit":
            self.save_config_callback = None
            config = self.config[self.config.subcommand]
            if config.data.learnt_names is None:
                config.data.learnt_names = learnt_names(self.checkpoint, config.model.arch)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Hand over the checkpoint that was found; the saved configuration has what was asked."""
        found = str(self.checkpoint) if self.checkpoint else None
        given: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        return {**given, "ckpt_path": found, "weights_only": True}

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Give the trainer the loggers and callbacks that its sub-command has a use for."""
        config = {**self._get(self.config_init, "trainer"), **kwargs}
        fits = self.subcommand == "fit"
        if fits:
            check_trainer(config)
        if fits and config["logger"] is not False:
            given = [] if config["logger"] is True else _listed(config["logger"])
            config["logger"] = [*self._make_loggers(config["default_root_dir"]), *given]
        elif config["logger"] is None:
            config["logger"] = False
        if not fits:
            config["enable_checkpointing"] = False
        config["plugins"] = _with_safe_io(_listed(config["plugins"]))
        if config["sync_batchnorm"]:
            config["plugins"] = _with_sync_norms(_listed(config["plugins"]))
        names = ["predictions"] if self.subcommand == "predict" else []
        if fits and config["enable_checkpointing"] is not False:
            names += ["checkpoint", "last_checkpoint"]
        if fits and config["logger"]:
            names += ["learning_rate", "throughput"]
        wanted = {"ema": "decay", "head_first": "epochs", "rate_finder": "steps"}  # 0 is off
        if fits:
            given = self.config[self.config.subcommand]
            names += [name for name, option in wanted.items() if given[name][option]]
        callbacks = [self._get(self.config_init, name) for name in names]
        if fits:
            skip = self._get(self.config_init, "skip_nonfinite")
            callbacks += [RandomStates(), NonFinite(skip), StayStopped(), RunSummary()]
            if config["enable_model_summary"] is None:
                config["enable_model_summary"] = False
                callbacks.append(NetworkLine())
            if config["max_steps"] >= 0:
                callbacks.append(StopAfter(config["max_steps"]))
                config["max_steps"], config["max_epochs"] = -1, config["max_epochs"] or -1
        if config["enable_progress_bar"] is not False and not _has_bar(config["callbacks"]):
            callbacks.append(make_progress())
        try:
            return self._instantiate_trainer(config, callbacks)
        except ValueError as error:
            raise UserError(f"the trainer cannot be made: {error}") from error

    def _run_subcommand(self, subcommand: str) -> None:
        """Run it; whatever ends it is an error of this package, with a line for the user."""
        try:
            with explained(self.trainer):  # one that is interrupted says what is left
                super()._run_subcommand(subcommand)
        except KdnaZooError:
            raise
        except Exception as error:
            saves = (call for call in self.trainer.callbacks if isinstance(call, SaveRun))  # type: ignore[attr-defined]
            folder = next((call.folder for call in saves), None)
            raise explain(error) or unknown(error, folder, self.trainer.global_rank) from error

    def _make_loggers(self, folder: str) -> list[Logger]:
        found = self.resumption
        return make_loggers(folder, found.version, found.step) if found else make_loggers(folder)


def _channels(input_size: Sequence[int] | None) -> int | None:
    return input_size[0] if input_size else None


def _has_bar(callbacks: Any) -> bool:
    return any(isinstance(callback, ProgressBar) for callback in _listed(callbacks))


def _with_safe_io(plugins: list[Any]) -> list[Any]:
    given = any(isinstance(plugin, CheckpointIO) for plugin in plugins)
    return plugins if given else [*plugins, SafeCheckpointIO()]


def _with_sync_norms(plugins: list[Any]) -> list[Any]:
    given = any(isinstance(plugin, LayerSync) for plugin in plugins)
    return plugins if given else [*plugins, SyncNorms()]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


class Parser(LightningArgumentParser):
    """LightningCLI's parser, whose errors are one message in place of the whole usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong, with the nearest options where one is unknown."""
        message = (
            condensed(message) if re.search(UNIMPORTABLE, message) else in_one_sentence(message)
        )
        unknown = re.search(r"option '([\w.]+)'|arguments?: --([\w.]+)", message)
        hint = "kdna-zoo fit --help lists all options"
        if unknown:
            options = {str(action.dest) for action in self._all_actions()}
            hint = did_you_mean(unknown[1] or unknown[2], options, hint)
        raise UserError(f"{message}; {hint}") from ex

    def _all_actions(self) -> Iterator[Any]:
        for action in self._actions:
            yield action
            if isinstance(action.choices, dict):  # the sub-commands
                for parser in action.choices.values():
                    yield from parser._actions


def run(arguments: Sequence[str]) -> CLI:
    """Run one of the sub-commands with its arguments, as ``kdna-zoo ARGUMENTS`` does.

    ``sys.argv`` is set for the time of the call: Lightning starts further processes from it.
    """
    imports, others = split_imports(arguments)
    check_config_files(others, imports)
    import_modules(imports)
    set_parsing_settings(add_print_completion_argument=True)
    before = sys.argv
    sys.argv = [before[0], *arguments]
    defaults = [str(recipes_folder() / "_base" / "default.yaml")]
    try:
        with warnings.catch_warnings(), quiet_threads(), without_tips():
            for noise in NOISE:
                warnings.filterwarnings("ignore", noise)
            return CLI(
                ImageClassifier,
                ImageData,
                save_config_callback=SaveRun,
                save_config_kwargs={"overwrite": True},  # only in a folder that the user fixed
                parser_class=Parser,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                parser_kwargs={
                    "prog": "kdna-zoo",
                    **{name: {"default_config_files": defaults} for name in SUBCOMMANDS},
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
