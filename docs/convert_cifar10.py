"""The evidence for conversion: public ResNets trained on CIFAR-10, converted, then distilled.

    python -m docs.convert_cifar10 RESNETS CIFAR10 --depth 56 --saving 0.35 --epochs 10 --to FOLDER

RESNETS holds ``resnet20.safetensors`` and so on, of github.com/akamaster/pytorch_resnet_cifar10;
CIFAR10 holds ``train*.parquet`` and ``test*.parquet`` of the Hub's ``uoft-cs/cifar10``. Test images
are looked at for the figures alone: all choices are made on training images that are held out. A
run that was stopped goes on where its last epoch ended; figures go to ``FOLDER/result.json``.
"""

import argparse
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from kdna_zoo import Share, SharingPlan, convert, suggest_plan
from kdna_zoo.records.machine import git_commit, hardware, versions

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HELD_OUT = 2500  # training images, for choices
TEMPERATURE, WEIGHT = 4.0, 0.9
ABLATION: dict[str, dict[str, Any]] = {
    "parent as it is": {"match": False, "fit": False, "refine": False},
    "+ fit to the weights": {"match": False, "refine": False, "fit": "weights"},
    "+ fit to the outputs": {"match": False, "refine": False},
    "+ matched channels": {"refine": False},
    "+ refined blocks": {},
}


class Block(nn.Module):
    """A basic block whose identity path takes every second pixel and pads channels with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pad = outputs // 4 if stride != 1 or inputs != outputs else 0

    def forward(self, x: Tensor) -> Tensor:
        """Return ReLU(block(x) + x)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


class ResNet(nn.Module):
    """The ResNet for CIFAR of He et al. 2016, with n blocks in each of three stages."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(i, o, stride), *(Block(o, o, 1) for _ in range(n - 1)))
            for i, o, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (N, 10)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class Images:
    """Batches of a part of a data set, augmented as in training or not."""

    def __init__(self, x: Tensor, y: Tensor, batch: int, seed: int | None = None) -> None:
        self.x, self.y, self.batch, self.seed = x, y, batch, seed

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(self.x))
        generator = torch.Generator()
        if self.seed is not None:
            order = torch.randperm(len(self.x), generator=generator.manual_seed(self.seed))
        for first in range(0, len(order), self.batch):
            i = order[first : first + self.batch]
            x = self.x[i] if self.seed is None else augment(self.x[i], generator)
            yield normalised(x), self.y[i]


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image, and move it by up to 4 pixels, at random."""
    flipped = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    x = F.pad(torch.where(flipped, x.flip(3), x), (4, 4, 4, 4))
    moves = torch.randint(0, 9, (len(x), 2), generator=generator).tolist()
    return torch.stack([a[:, i : i + 32, j : j + 32] for a, (i, j) in zip(x, moves, strict=True)])


def normalised(x: Tensor) -> Tensor:
    """Return images of bytes as the networks take them."""
    return (x.float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def read(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Read a split: images of bytes (N, 3, 32, 32), labels (N,)."""
    rows = [
        row
        for f in sorted(folder.glob(f"{split}*.parquet"))
        for row in pq.read_table(f).to_pylist()
    ]
    pictures = [np.array(Image.open(io.BytesIO(r["img"]["bytes"])).convert("RGB")) for r in rows]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return x, torch.tensor([r["label"] for r in rows])


@torch.no_grad()
def top1(model: nn.Module, images: Images) -> float:
    """Return the accuracy in percent."""
    model.eval()
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in images)
    return 100 * right / len(images.x)


def alternate(n: int) -> SharingPlan:
    """Each odd block takes from the next; block 1 from 2 in a network of three."""
    shares = [
        Share(f"layer{stage}.{block}.conv{k}", f"layer{stage}.{block + 1}.conv{k}")
        for stage in (1, 2, 3)
        for block in range(1, n - 1, 2)
        for k in (1, 2)
    ]
    return SharingPlan(tuple(shares))


def distil(model: nn.Module, source: nn.Module, data: dict[str, Images], args: Any) -> list[Any]:
    """Train against the source; goes on after the last whole epoch of a run before."""
    file, rows = args.to / "state.pt", []
    optimizer = torch.optim.SGD(_groups(model, args), lr=args.rate, momentum=0.9, nesterov=True)
    images = data["train"]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [g["lr"] for g in optimizer.param_groups],
        total_steps=args.epochs * len(images), pct_start=0.15,
    )  # fmt: skip
    first = 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first, rows = state["epoch"], state["rows"]
    for epoch in range(first, args.epochs):
        began, images.seed = time.perf_counter(), 1000 * args.seed + epoch
        model.train()
        for x, y in images:
            logits = model(x)
            with torch.no_grad():
                taught = source(x)
            ours, theirs = (F.log_softmax(z / TEMPERATURE, 1) for z in (logits, taught))
            distance = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
            distance = distance * TEMPERATURE**2
            loss = WEIGHT * distance + (1 - WEIGHT) * F.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        row = {"epoch": epoch + 1, "held_out": top1(model, data["held_out"])}
        row |= {"test": top1(model, data["test"]), "seconds": time.perf_counter() - began}
        rows.append(row)
        print(row, flush=True)
        parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
        saved = {name: part.state_dict() for name, part in parts.items()}
        torch.save({**saved, "epoch": epoch + 1, "rows": rows}, file.with_suffix(".new"))
        file.with_suffix(".new").rename(file)
    return rows


def _groups(model: nn.Module, args: Any) -> list[dict[str, Any]]:
    named = list(model.named_parameters())
    adapters = [p for k, p in named if "channel_attn" in k or "modulation" in k]
    ids = {id(p) for p in adapters}
    kernels = [p for _, p in named if p.ndim > 1 and id(p) not in ids]
    vectors = [p for _, p in named if p.ndim < 2 and id(p) not in ids]
    return [
        {"params": kernels, "lr": args.rate, "weight_decay": 5e-4},
        {"params": vectors, "lr": args.rate, "weight_decay": 0.0},
        {"params": adapters, "lr": args.rate * args.adapter_rate, "weight_decay": 0.0},
    ]


def main() -> None:
    """Convert, measure, distil, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("resnets", type=Path)
    parser.add_argument("cifar10", type=Path)
    parser.add_argument("--depth", type=int, choices=(20, 32, 44, 56), default=20)
    parser.add_argument("--saving", type=float, help="default: alternate blocks share")
    parser.add_argument("--calibration", type=int, default=4000, help="images")
    parser.add_argument("--refine", type=int, default=400, help="batches of 100 images")
    parser.add_argument("--ablation", action="store_true", help="measure after each step alone")
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--adapter-rate", type=float, default=1.0, help="times the rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    commit = git_commit()  # now: the checkout may move on while this runs
    args.to.mkdir(parents=True, exist_ok=True)
    n = (args.depth - 2) // 6
    source = ResNet(n)
    source.load_state_dict(load_file(args.resnets / f"resnet{args.depth}.safetensors"))
    source.eval().requires_grad_(False)
    (x, y), (test_x, test_y) = read(args.cifar10, "train"), read(args.cifar10, "test")
    data = {
        "train": Images(x[:-HELD_OUT], y[:-HELD_OUT], 128, args.seed),
        "held_out": Images(x[-HELD_OUT:], y[-HELD_OUT:], 500),
        "test": Images(test_x, test_y, 500),
    }
    c = args.calibration
    calibration = Images(x[:c], y[:c], 100, args.seed)
    plan = alternate(n)
    if args.saving:
        plan = suggest_plan(source, calibration, args.saving, across_roles=False)
    print(plan, flush=True)
    result: dict[str, Any] = {"depth": args.depth, "plan": plan.to_dict(), "seed": args.seed}
    result["commit"] = commit
    result["source"] = {"test": top1(source, data["test"])}
    result["ablation"] = {}
    for name, switches in ABLATION.items() if args.ablation else ():
        options = {"refine": args.refine, "seed": args.seed, **switches}
        model = convert(source, plan, calibration, **options)
        result["ablation"][name] = top1(model, data["test"])
        print(name, result["ablation"][name], flush=True)
    model = convert(source, plan, calibration, refine=args.refine, seed=args.seed)
    report: Any = model.conversion_report
    print(report, flush=True)
    result |= {
        "report": report.to_dict(),
        "before": {k: top1(model, data[k]) for k in ("held_out", "test")},
    }
    print(result["source"], result["before"], flush=True)
    result["epochs"] = distil(model, source, data, args) if args.epochs else []
    result |= {"hardware": hardware("cpu"), "versions": versions("timm")}
    (args.to / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
