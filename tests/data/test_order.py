"""The order of the training images, and who sees which image, in training and evaluation."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdna_zoo.data import ImageData
from kdna_zoo.data.randomness import random_state, set_random_state
from kdna_zoo.data.sampler import (
    EvaluationShare,
    Position,
    ResumeState,
    TrainingOrder,
    even_batch_size,
)
from kdna_zoo.errors import UserError

ROWS = 10


def test_each_epoch_has_each_row_once_in_another_order() -> None:
    order = TrainingOrder(ROWS, seed=0)
    first, second = [row for row, _ in order], [row for row, _ in order]
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert first != second
    assert [row for row, _ in TrainingOrder(ROWS, seed=1)] != first
    assert len({seed for _, seed in TrainingOrder(ROWS, seed=0)}) == ROWS


@pytest.mark.parametrize("epoch", [0, 3])
def test_going_on_skips_what_was_seen(epoch: int) -> None:
    whole = TrainingOrder(ROWS, seed=0)
    whole.set_epoch(epoch)
    expected = list(whole)
    rest = TrainingOrder(ROWS, seed=0, start=(epoch, 4))
    assert list(rest) == expected[4:]
    assert list(rest) == list(whole), "the next epoch is whole again"
    assert len(rest) == ROWS, "as many batches as ever, for the trainer's count"


def test_two_ranks_draw_what_one_process_draws() -> None:
    one = list(TrainingOrder(ROWS, seed=0))
    ranks = [list(TrainingOrder(ROWS, seed=0, rank=rank, ranks=2)) for rank in range(2)]
    assert [draw for pair in zip(*ranks, strict=True) for draw in pair] == one


def test_ranks_have_as_many_draws_each() -> None:
    ranks = [list(TrainingOrder(ROWS, seed=0, rank=rank, ranks=3)) for rank in range(3)]
    assert [len(draws) for draws in ranks] == [4, 4, 4]
    assert {row for draws in ranks for row, _ in draws} == set(range(ROWS))


@pytest.mark.parametrize(("rows", "ranks"), [(10, 2), (11, 2), (11, 4), (3, 3)])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_evaluation_sees_each_row_once(rows: int, ranks: int, batch_size: int) -> None:
    shares = [EvaluationShare(rows, rank, ranks) for rank in range(ranks)]
    assert sorted(row for share in shares for row in share) == list(range(rows))
    size = even_batch_size(rows, ranks, batch_size)
    assert len({-(-len(share) // size) for share in shares}) == 1, "no rank waits for another"
    assert batch_size <= size <= batch_size + 2


def test_more_processes_than_images() -> None:
    with pytest.raises(UserError, match=r"2 images cannot be shared out to 3 processes"):
        EvaluationShare(2, 0, 3)


def epoch(workers: int) -> list[tuple[Tensor, Tensor]]:
    data = ImageData(
        train_split="train[:96]",
        batch_size=32,
        input_size=(3, 28, 28),
        num_workers=workers,
        augment={"auto_augment": "rand-m9", "re_prob": 0.5, "color_jitter_prob": 0.5},
    )
    data._resume_state.seed = 5
    return list(data.train_dataloader())


def test_workers_do_not_change_the_augmentation() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    none, again = epoch(0), epoch(0)
    assert torch.equal(torch.get_rng_state(), before), "loading leaves the network's numbers alone"
    for images, labels, others in zip(*zip(*none, strict=True), epoch(2), strict=True):
        assert torch.equal(images, others[0])
        assert torch.equal(labels, others[1])
    assert all(torch.equal(a[0], b[0]) for a, b in zip(none, again, strict=True))


def test_random_states_pass_through_a_file(tmp_path: Path) -> None:
    import random

    import numpy as np

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.randn()), float(torch.rand(()))

    np.random.randn()  # leaves a second normal number behind, which belongs to the state
    torch.save(random_state(), tmp_path / "state")
    expected = draw()
    set_random_state(torch.load(tmp_path / "state", weights_only=True))
    assert draw() == expected


def test_other_batches_cannot_go_on_in_mid_epoch() -> None:
    course, before = ResumeState(), {"images": 96, "batch_size": 32, "devices": 1}
    course.load({"seed": 0, "epoch": 2, "batches": 1, "made_of": before})
    assert course.start(None, before) == Position(2, 1)
    with pytest.raises(UserError, match=r"batch_size was 32 and is 16, devices was 1 and is 2"):
        course.start(None, {"images": 96, "batch_size": 16, "devices": 2})
    course.load({"seed": 0, "epoch": 3, "batches": 0, "made_of": before})
    assert course.start(None, {**before, "devices": 2}) == Position(3), "between two epochs"
