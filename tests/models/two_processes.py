"""Training steps in two processes over gloo, for the tests of DDP and FSDP2.

Each process runs `train` on its half of the batch; the first leaves what it got in a file.
"""

from pathlib import Path
from typing import Literal, cast

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from tests.models.support import create, gradients, images

Way = Literal["ddp", "fsdp"]
Result = tuple[dict[str, Tensor], dict[str, Tensor]]
PROCESSES = 2
BATCH = images(4).double()  # so that another order of sums does not show in deep networks


def run(name: str, way: Way, folder: Path) -> Result:
    """Do `train` in two processes; return what the first one has."""
    mp.get_context("forkserver").set_forkserver_preload(["tests.models.two_processes"])
    mp.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        _work, (name, way, folder), nprocs=PROCESSES, start_method="forkserver"
    )
    return cast("Result", torch.load(folder / "result.pt"))


def train(model: nn.Module, x: Tensor) -> Result:
    """Train one step; return the gradients and the parameters after it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    found = gradients(model, x)
    optimizer.step()
    return _whole(found), _whole(dict(model.named_parameters()))


def trainable(name: str) -> nn.Module:
    """The network in training mode, with its batch norms frozen.

    Batch norms see the half batch of their process, and on a CPU cannot be synchronised: with
    running statistics in use, two halves are as good as a whole.
    """
    model = create(name).double().train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


def shard_by_stage(model: nn.Module) -> None:
    """Shard each of timm's stages, which hold parents and children together, then the rest."""
    for info in model.feature_info:
        stage = model.get_submodule(info["module"])
        if list(stage.parameters()):
            fully_shard(stage)
    fully_shard(model)


def _work(rank: int, name: str, way: Way, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=PROCESSES
    )
    model, half = trainable(name), BATCH.chunk(PROCESSES)[rank]
    if way == "ddp":
        model = DistributedDataParallel(model)
    else:
        shard_by_stage(model)
    result = train(model, half)
    if rank == 0:
        torch.save(result, folder / "result.pt")
    dist.barrier()
    dist.destroy_process_group()


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gather what is sharded, under the names of the plain network."""
    return {
        key.removeprefix("module."): (t.full_tensor() if isinstance(t, DTensor) else t).detach()
        for key, t in tensors.items()
    }
