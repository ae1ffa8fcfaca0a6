"""What `kdna-zoo convert` makes: the plan to convert by, and the release folder of the result."""

import argparse
import json
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import timm
from torch import nn

from kdna_zoo.analysis.conversion_plot import draw_conversion
from kdna_zoo.cli._calibration import Calibration, no_images
from kdna_zoo.cli._sources import Source
from kdna_zoo.conversion import grow, suggest_plan
from kdna_zoo.conversion.plain import plain
from kdna_zoo.errors import UserError
from kdna_zoo.models.compat import recorded_arguments
from kdna_zoo.records.checkpoints import describe_mismatch
from kdna_zoo.records.machine import git_commit, hardware, versions
from kdna_zoo.records.record import Metrics, Record, RunRecord
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.folder import write_files, write_target
from kdna_zoo.release.options import Release
from kdna_zoo.sharing import SharingPlan, auto_plan


def make_plan(
    args: argparse.Namespace, source: Source, images: Calibration | None
) -> tuple[Any, SharingPlan, str, dict[str, Any]]:
    """Return what to convert and by which plan, and the name and arguments of the result."""
    network = source.network
    ours = ("num_classes", "base", "plan", "ablation", "layers", "attn_norm")
    if args.to:
        grown, plan = grow(network, args.to)
        given = {k: v for k, v in recorded_arguments(network).items() if k not in ours}
        return grown, plan, args.to, given
    base: Any = getattr(network, "base_arch", None)
    made: Any = getattr(network, "base_args", None)
    if base is None:
        config: Any = network.pretrained_cfg
        base, made = config["architecture"], recorded_arguments(network)
    arguments = {k: v for k, v in made.items() if k != "num_classes"}
    network = plain(network)
    if args.saving is not None:
        plan = suggest_plan(
            network,
            images.images if images else None,
            args.saving,
            across_roles=args.across_roles,
            norm=args.norm,
            seed=args.seed,
        )
    else:
        plan = auto_plan(network, norm=args.norm) if args.plan == "auto" else _read(args.plan)
    return network, plan, "any_kdna", {"base": base, "plan": plan.to_dict(), **arguments}


def _read(file: str) -> SharingPlan:
    """Read a plan: what `SharingPlan.to_dict` gives, or a file of kdna-zoo that has one in it."""
    try:
        data: Any = json.loads(Path(file).read_text(encoding="utf-8"))
        data = data["plan"] if "shares" not in data else data
        return SharingPlan.from_dict(dict(data))
    except OSError as error:
        raise UserError(f"cannot read the plan {file}: {error.strerror}") from error
    except UserError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} holds no sharing plan ({type(error).__name__}: {error}): it takes what "
            "SharingPlan.to_dict() gives as JSON, or the JSON of `kdna-zoo cka --suggest`"
        ) from error


def registered(
    converted: nn.Module, arch: str, arguments: Mapping[str, Any], source: Source
) -> nn.Module:
    """Build the network that timm makes of the name and arguments, with the converted weights."""
    classes = len(source.label_names)
    network: nn.Module = timm.create_model(arch, **{**arguments, "num_classes": classes}).eval()
    state = {key: value.cpu() for key, value in converted.state_dict().items()}
    problem = describe_mismatch(state, network.state_dict())
    assert not problem, f"{arch} with {arguments}: {problem}"
    network.load_state_dict(state)
    return network


def write_converted(
    args: argparse.Namespace,
    source: Source,
    network: nn.Module,
    images: Calibration | None,
    data: dict[str, Any],
    license: str,
    began: float,
    named: tuple[str, dict[str, Any]],
) -> Path:
    """Write the release folder of a converted network, all of it or nothing.

    Args:
        args: The command's options.
        source: The source.
        network: The converted network, as timm builds it.
        images: What it was calibrated with, and measured by.
        data: The report, with the source's name, sha256 and licence.
        license: Of the result.
        began: Seconds since the epoch.
        named: Name and arguments for timm.

    Returns:
        The folder's absolute path.
    """
    after = [step["top1"] for step in data["steps"] if step["top1"] is not None]
    metrics = (
        Metrics(str(images.split), data["evaluated"], after[-1], None, None)
        if images and after
        else None
    )
    started = datetime.fromtimestamp(began, timezone.utc).isoformat(timespec="seconds")
    here = machine(args)
    record = Record(
        arch=named[0],
        arch_args=named[1],
        num_classes=len(source.label_names),
        label_names=source.label_names,
        data_config=source.data_config,
        data=images.data if images else no_images(),
        metrics=metrics,
        run=RunRecord(
            command=args.line,
            recipe=None,
            seed=args.seed,
            epochs=0.0,
            steps=0,
            batch_size=None,
            accumulate=None,
            git_commit=here["git_commit"],
            precision="32-true",
            hardware=here["hardware"],
            devices=1,
            versions=here["versions"],
            started=started,
            seconds=round(time.time() - began, 1),
            images_per_second=None,
        ),
        base_model=source.repository.partition("@")[0] if source.repository else None,
    )
    tag = args.tag_name or "converted"
    about = Release(tag=tag, license=license, conversion=data)

    def write(fresh: Path) -> None:
        write_files(TrainedModel(network, record, "raw", averaged=False), fresh, about)
        draw_conversion(data, fresh / "conversion.png")

    return write_target(args.out, args.overwrite, write)


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the figures were made with."""
    return {
        "hardware": hardware(args.device),
        "git_commit": git_commit(),
        "versions": versions("timm"),
    }
