"""Contract: a step in two processes is the step of one process on the whole batch."""

from pathlib import Path

import pytest
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from tests.models.support import (
    assert_all_close,
    create,
    gradients,
    images,
    on_each_at_length,
)
from tests.models.two_processes import BATCH, Way, run, train, trainable


@on_each_at_length
@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_two_processes_train_as_one(name: str, way: Way, tmp_path: Path) -> None:
    found_gradients, found_parameters = run(name, way, tmp_path)
    expected_gradients, expected_parameters = train(trainable(name), BATCH)
    assert_all_close(found_gradients, expected_gradients, tolerance=1e-5)
    assert_all_close(found_parameters, expected_parameters, tolerance=1e-5)


def test_a_child_cannot_be_sharded_apart_from_its_parent(tmp_path: Path) -> None:
    """FSDP2 gathers a group's weights for that group alone: shard by stage, not by block."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        model = create("test_kdna_resnet")
        for block in model.layer3:
            fully_shard(block)
        fully_shard(model)
        with pytest.raises(RuntimeError, match=r"mixed torch\.Tensor and DTensor"):
            gradients(model, images(2))
    finally:
        dist.destroy_process_group()
