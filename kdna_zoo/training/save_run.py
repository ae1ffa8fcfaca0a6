"""What a run's folder says of how it was made."""

import json
import shlex
import sys
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.cli import SaveConfigCallback

from kdna_zoo.training.classification import ImageClassifier
from kdna_zoo.training.record import describe_machine


class SaveRun(SaveConfigCallback):
    """Keep in the run's folder how it was made: ``config.yaml`` (resolved) and ``run.json``.

    Both go into the checkpoints too, by way of the module's ``run_info``.
    """

    folder: Path | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Settle the run's folder on all ranks: asking for it is a broadcast."""
        self.folder = Path(trainer.log_dir or trainer.default_root_dir)
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write ``run.json`` beside the ``config.yaml`` that Lightning has just written."""
        assert isinstance(pl_module, ImageClassifier)
        assert self.folder is not None
        command = shlex.join(["kdna-zoo", *sys.argv[1:]])
        recipe = self.parser.dump(self.config, skip_none=False)
        pl_module.run_info = {"command": command, "recipe": recipe, "folder": self.folder.name}
        seed = self.config["seed_everything"]
        part = {"command": command, "seed": seed, **describe_machine(trainer)}
        record, file = part, self.folder / "run.json"
        goes_on = any(getattr(logger, "first_step", None) is not None for logger in trainer.loggers)
        if goes_on and file.exists():
            record = json.loads(file.read_text())
            record["resumed"] = [*record.get("resumed", []), part]
        file.write_text(json.dumps(record, indent=2) + "\n")
