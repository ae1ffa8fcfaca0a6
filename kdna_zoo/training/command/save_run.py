"""What a run's folder says of how it was made."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from kdna_zoo.records.record import split_command
from kdna_zoo.training.callbacks.run_state import run_state
from kdna_zoo.training.logging.record import describe_machine


class SaveRun(SaveConfigCallback):
    """Keep in the run's folder how it was made: ``config.yaml`` (resolved) and ``run.json``.

    Both go into the checkpoints too, by way of the `RunState`. All is written out when
    this is made: a parser cannot go to processes that are spawned.

    Args:
        parser: That of the sub-command.
        config: What it has read.
        **options: As Lightning has them.
    """

    def __init__(self, parser: LightningArgumentParser, config: Any, **options: Any) -> None:
        super().__init__(parser, config, **options)
        self.folder: Path | None = None
        self._recipe = parser.dump(config, skip_none=False)
        self._seed = config["seed_everything"]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "parser": None, "config": None}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Settle the folder on all ranks, as asking for it is a broadcast, and write to it."""
        self.folder = Path(trainer.log_dir or trainer.default_root_dir)
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / self.config_filename).write_text(self._recipe, encoding="utf-8")
            self.save_config(trainer, pl_module, stage)

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write ``run.json`` beside ``config.yaml``."""
        assert self.folder is not None
        command = shlex.join(["kdna-zoo", *sys.argv[1:]])
        folder, recipe = self.folder.name, self._recipe
        recipes, arguments = split_command(sys.argv[1:])
        run_state(trainer).info = {
            **{"command": command, "recipe": recipe, "folder": folder},
            **{"recipes": recipes, "arguments": arguments},
        }
        part = {"command": command, "seed": self._seed, **describe_machine(trainer)}
        record, file = part, self.folder / "run.json"
        goes_on = any(getattr(logger, "first_step", None) is not None for logger in trainer.loggers)
        if goes_on and file.exists():
            record = json.loads(file.read_text())
            record["resumed"] = [*record.get("resumed", []), part]
        file.write_text(json.dumps(record, indent=2) + "\n")
