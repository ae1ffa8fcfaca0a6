"""What the trainer of a sub-command gets beside its options: loggers, plugins and callbacks."""

from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.layer_sync import LayerSync

from kdna_zoo.training.callbacks.network_line import NetworkLine
from kdna_zoo.training.callbacks.nonfinite import NonFinite
from kdna_zoo.training.callbacks.progress import make_progress
from kdna_zoo.training.callbacks.stopping import StayStopped, StopAfter
from kdna_zoo.training.callbacks.summary import RunSummary
from kdna_zoo.training.logging.loggers import make_loggers
from kdna_zoo.training.resume.checkpointing import SafeCheckpointIO
from kdna_zoo.training.resume.finding import Resumption
from kdna_zoo.training.resume.random_states import RandomStates
from kdna_zoo.training.sync_norm import SyncNorms

OFF_AT_ZERO = {"ema": "decay", "head_first": "epochs", "rate_finder": "steps"}


def to_train(trainer: dict[str, Any], made: Any, resumption: Resumption | None) -> dict[str, Any]:
    """Return the arguments of a trainer that trains.

    Args:
        trainer: Those that were given.
        made: The options of the command, and its callbacks, by name.
        resumption: What the run goes on from; None: it begins.
    """
    trainer = {**trainer, "logger": _loggers(trainer, resumption)}
    names = []
    if trainer["enable_checkpointing"] is not False:
        names += ["checkpoint", "last_checkpoint"]
    if trainer["logger"]:
        names += ["learning_rate", "throughput"]
    names += [name for name, option in OFF_AT_ZERO.items() if getattr(made[name], option)]
    callbacks: list[Callback] = [made[name] for name in names]
    callbacks += [RandomStates(), NonFinite(made.skip_nonfinite), StayStopped(), RunSummary()]
    if trainer["enable_model_summary"] is None:
        trainer["enable_model_summary"] = False
        callbacks.append(NetworkLine())
    if trainer["max_steps"] >= 0:
        callbacks.append(StopAfter(trainer["max_steps"]))
        trainer |= {"max_steps": -1, "max_epochs": trainer["max_epochs"] or -1}
    return _with_plugins(trainer, callbacks)


def to_evaluate(trainer: dict[str, Any], made: Any, subcommand: str) -> dict[str, Any]:
    """Return the arguments of a trainer that evaluates and predicts; only predictions are written.

    Args:
        trainer: Those that were given.
        made: The options of the command, and its callbacks, by name.
        subcommand: ``validate``, ``test`` or ``predict``.
    """
    logger = False if trainer["logger"] is None else trainer["logger"]
    trainer = {**trainer, "logger": logger, "enable_checkpointing": False}
    return _with_plugins(trainer, [made.predictions] if subcommand == "predict" else [])


def _loggers(trainer: dict[str, Any], found: Resumption | None) -> list[Logger] | bool:
    given, folder = trainer["logger"], trainer["default_root_dir"]
    if given is False:
        return False
    ours = make_loggers(folder, found.version, found.step) if found else make_loggers(folder)
    return [*ours, *([] if given is True else _listed(given))]


def _with_plugins(trainer: dict[str, Any], callbacks: list[Callback]) -> dict[str, Any]:
    """Add what every sub-command has, where the user gives no other: plugins and a bar."""
    plugins, given = _listed(trainer["plugins"]), _listed(trainer["callbacks"])
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(SafeCheckpointIO())
    syncs = any(isinstance(plugin, LayerSync) for plugin in plugins)
    if trainer["sync_batchnorm"] and not syncs:
        plugins.append(SyncNorms())
    has_bar = any(isinstance(callback, ProgressBar) for callback in given)
    if trainer["enable_progress_bar"] is not False and not has_bar:
        callbacks.append(make_progress())
    return {**trainer, "plugins": plugins, "callbacks": [*given, *callbacks]}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]
