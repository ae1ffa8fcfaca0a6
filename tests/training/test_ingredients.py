"""The ingredients of a recipe: each one's figure or identity."""

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from kdna_zoo.errors import UserError
from kdna_zoo.training.classification import ImageClassifier
from kdna_zoo.training.objective import (
    Distillation,
    DistillationConfig,
    LossConfig,
    MixConfig,
    Mixer,
    Objective,
    build_loss,
)
from kdna_zoo.training.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
LABELS = torch.tensor([0, 2])


def test_label_smoothing_spreads_the_target() -> None:
    loss = build_loss(LossConfig(), smoothing=0.3, soft_targets=False)(LOGITS, LABELS)
    target = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    expected = -(target * LOGITS.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, expected)


def test_binary_cross_entropy_is_one_for_each_class() -> None:
    loss = build_loss(LossConfig("bce", sum_classes=True), smoothing=0.0, soft_targets=False)
    sigmoid, right = LOGITS.sigmoid(), F.one_hot(LABELS).bool()
    expected = -torch.where(right, sigmoid, 1 - sigmoid).log().sum(1).mean()
    torch.testing.assert_close(loss(LOGITS, LABELS), expected)


def test_threshold_of_mixed_targets() -> None:
    mixed = torch.tensor([[0.3, 0.7, 0.0], [0.1, 0.0, 0.9]])
    loss = build_loss(LossConfig("bce", target_threshold=0.2), smoothing=0.0, soft_targets=True)
    hard = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    expected = F.binary_cross_entropy_with_logits(LOGITS, hard)
    torch.testing.assert_close(loss(LOGITS, mixed), expected)


def test_threshold_without_bce() -> None:
    with pytest.raises(UserError, match="BCE target threshold"):
        build_loss(LossConfig("ce", target_threshold=0.2), smoothing=0.0, soft_targets=False)


@pytest.mark.parametrize("mix", [MixConfig(), MixConfig(mixup_alpha=1.0)], ids=["plain", "mixed"])
@pytest.mark.parametrize("loss", ["ce", "bce"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_of_bfloat16_logits_is_float32(mix: MixConfig, loss: str, smoothing: float) -> None:
    """Under autocast a CPU takes the softmax in bfloat16, a GPU in float32."""
    objective = Objective(3, smoothing, LossConfig(loss), mix, DistillationConfig())
    logits = LOGITS.bfloat16()
    images, targets = objective.mix(torch.zeros(2, 3, 4, 4), LABELS)
    expected = objective(logits.float(), targets, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(logits, targets, images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_probabilities_of_bfloat16_logits_are_float32() -> None:
    module = ImageClassifier(arch="test_kdna_resnet").eval()
    batch = (torch.randn(2, 3, 64, 64), LABELS, torch.arange(2))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = module(batch[0]).float().softmax(dim=1)
        found = module.predict_step(batch, 0)["probability"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_mixup_mixes_images_and_labels_alike() -> None:
    np.random.seed(0)
    images, labels = torch.eye(4).view(4, 1, 2, 2), torch.arange(4)
    mixed, targets = Mixer(MixConfig(mixup_alpha=1.0), 4, smoothing=0.0)(images.clone(), labels)
    ratio = float(targets[0, 0])
    assert 0 < ratio < 1
    torch.testing.assert_close(mixed, images * ratio + images.flip(0) * (1 - ratio))
    torch.testing.assert_close(targets, mixed.flatten(1)), "the images are one-hot, as the targets"


def test_cutmix_labels_by_area() -> None:
    np.random.seed(0)
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 16, 16).clone()
    mixed, targets = Mixer(MixConfig(cutmix_alpha=1.0), 4, smoothing=0.0)(images, torch.arange(4))
    area = float((mixed[0] == 3).float().mean())
    assert 0 < area < 1
    assert set(mixed[0].flatten().tolist()) == {0.0, 3.0}
    assert targets[0].tolist() == pytest.approx([1 - area, 0, 0, area])


def test_smoothing_goes_before_mixing() -> None:
    _, targets = Mixer(MixConfig(mixup_alpha=1.0), 10, smoothing=0.1)(
        torch.zeros(2, 3, 4, 4), torch.tensor([3, 3])
    )
    assert targets[0].tolist() == pytest.approx([0.01] * 3 + [0.91] + [0.01] * 6)


def test_the_seed_sets_the_mixture() -> None:
    def ratio() -> float:
        mixer = Mixer(MixConfig(mixup_alpha=1.0), 2, smoothing=0.0)
        return float(mixer(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]))[1][0, 0])

    np.random.seed(7)
    first = ratio()
    assert ratio() != first
    np.random.seed(7)
    assert ratio() == first


def test_odd_batch_cannot_be_mixed() -> None:
    with pytest.raises(UserError, match=r"an even number of images in a batch, got 3"):
        Mixer(MixConfig(mixup_alpha=1.0), 2, 0.0)(torch.zeros(3, 3, 4, 4), torch.zeros(3).long())


@pytest.mark.parametrize("config", [MixConfig(), MixConfig(mixup_alpha=1.0, prob=0.0)])
def test_nothing_to_mix(config: MixConfig) -> None:
    assert not config.mixes


def test_layer_decay_falls_from_head_to_stem() -> None:
    model = timm.create_model("test_kdna_resnet", num_classes=10)
    optimizer = build_optimizer(model, OptimizerConfig(lr=1.0, layer_decay=0.5))
    scale = {id(p): g["lr_scale"] for g in optimizer.param_groups for p in g["params"]}
    assert scale[id(model.fc.weight)] == 1.0
    assert scale[id(model.layer4[1].conv2.weight)] == 0.5
    assert scale[id(model.layer4[0].conv1.weight)] == 0.25
    assert scale[id(model.conv1.weight)] == min(scale.values())


def rates(config: ScheduleConfig, updates: int, per_epoch: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(optimizer, config, updates, per_epoch)
    found = []
    for update in range(updates):
        schedule.step_update(update)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_linear_schedule() -> None:
    found = rates(ScheduleConfig("linear"), updates=10, per_epoch=5)
    assert found == pytest.approx([1 - step / 10 for step in range(10)])


def test_cosine_schedule() -> None:
    found = rates(ScheduleConfig("cosine"), updates=10, per_epoch=5)
    assert found == pytest.approx([0.5 + 0.5 * np.cos(np.pi * step / 10) for step in range(10)])


def test_step_schedule_by_epoch() -> None:
    config = ScheduleConfig("step", decay_epochs=1, decay_rate=0.1)
    assert rates(config, updates=6, per_epoch=2) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("length", [{"warmup_epochs": 0.8}, {"warmup_steps": 4}])
def test_warm_up_by_epoch_or_step(length: dict[str, float]) -> None:
    config = ScheduleConfig("constant", warmup_lr=0.0, **length)
    assert rates(config, updates=6, per_epoch=5) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny network with 10 classes, as a published folder."""
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=10).eval()
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    return f"local-dir:{folder}"


def distillation(teacher: str, **config: float) -> Distillation:
    return Distillation(
        DistillationConfig(teacher, **config),
        num_classes=10,
        label_names=None,
        mean=(0.2,) * 3,
        std=(0.4,) * 3,
        device=torch.device("cpu"),
    )


def test_distillation_is_two_terms(teacher: str) -> None:
    network = timm.create_model(teacher, pretrained=True).eval()
    cfg = network.pretrained_cfg
    raw = torch.rand(4, 3, 64, 64)
    its_own = (raw - torch.tensor(cfg["mean"]).view(3, 1, 1)) / torch.tensor(cfg["std"]).view(
        3, 1, 1
    )
    with torch.no_grad():
        taught = (network(its_own) / 2).softmax(1)
    logits = torch.randn(4, 10)
    divergence = (taught * (taught.log() - (logits / 2).log_softmax(1))).sum(1).mean()
    loss = distillation(teacher, weight=0.75, temperature=2.0)(
        (raw - 0.2) / 0.4, logits, torch.tensor(8.0)
    )
    torch.testing.assert_close(loss, 0.25 * 8.0 + 0.75 * 4 * divergence)


def test_a_student_that_equals_the_teacher_has_nothing_to_learn(teacher: str) -> None:
    network = timm.create_model(teacher, pretrained=True).eval()
    images = torch.rand(2, 3, 64, 64)
    cfg = network.pretrained_cfg
    its_own = (images * 0.4 + 0.2 - torch.tensor(cfg["mean"]).view(3, 1, 1)) / torch.tensor(
        cfg["std"]
    ).view(3, 1, 1)
    loss = distillation(teacher, weight=1.0)(images, network(its_own), torch.tensor(5.0))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_teacher_of_other_classes(teacher: str) -> None:
    with pytest.raises(UserError, match="has 10 classes and the data 7"):
        Distillation(
            DistillationConfig(teacher), 7, None, (0.5,) * 3, (0.5,) * 3, torch.device("cpu")
        )


def test_distillation_weight_out_of_range(teacher: str) -> None:
    with pytest.raises(UserError, match=r"distillation\.weight must be in \[0, 1\]"):
        distillation(teacher, weight=1.5)
