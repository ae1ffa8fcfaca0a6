"""What cannot be converted, and what is said then."""

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from kdna_zoo import PlanError, Share, SharingPlan, auto_plan, convert, fuse, suggest_plan
from kdna_zoo.conversion import grow
from kdna_zoo.errors import UserError
from kdna_zoo.sharing import ablate

PLAN = SharingPlan((Share("layer4.0.conv2", "layer4.1.conv2"),))


@pytest.fixture(scope="module")
def model() -> Any:
    arguments = {"layers": (1, 1, 1, 2), "stem_width": 8, "channels": (8, 8, 8, 16)}
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=5, **arguments).eval()


def images(*shape: int) -> list[Tensor]:
    return [torch.randn(*shape)]


GOOD = (16, 3, 64, 64)


def test_a_plan_that_does_not_fit(model: Any) -> None:
    for share, text in (
        (Share("layer4.9.conv1", "layer4.1.conv2"), "no layer 'layer4.9.conv1' in this network"),
        (Share("layer4.0.conv1", "layer4.1.conv1"), "the kernels differ in shape"),
        (Share("layer3.0.conv2", "layer4.1.conv2"), "share within one stage"),
    ):
        with pytest.raises(PlanError, match=text):
            convert(model, SharingPlan((share,)))
    with pytest.raises(PlanError, match="the plan has no shares, so nothing would be converted"):
        convert(model, SharingPlan(()))
    with pytest.raises(PlanError, match="keep a kernel of its own, so nothing would be shared"):
        convert(model, ablate(PLAN, "own"))
    wrong: Any = "auto"
    with pytest.raises(PlanError, match=r"a plan is a SharingPlan, got a str: make one by auto"):
        convert(model, wrong)


def test_a_source_without_equal_shapes() -> None:
    different = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3))
    with pytest.raises(PlanError, match="nothing can be shared: no two convolutions"):
        auto_plan(different)
    with pytest.raises(UserError, match=r"cannot be met: the most that these layers .* is 0.00%"):
        suggest_plan(different, saving=0.1)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (images(16, 1, 64, 64), "batch 0 of images has 1 channels, and the network takes 3"),
        (images(16, 64, 64), r"has the shape \(16, 64, 64\): give batches \(N, C, H, W\)"),
        ([torch.zeros(16, 3, 64, 64, dtype=torch.uint8)], "holds torch.uint8: give images as"),
        (images(1, 3, 64, 64), "images holds 1 image, which say too little .* at least 8"),
        ([], "images holds no batch: give at least 8 images"),
        (torch.zeros(GOOD), r"images is one tensor of shape .* \[batch\] if it is a batch"),
        (iter(images(*GOOD)), "images is an iterator, which can be read once"),
        ([{"picture": torch.zeros(GOOD)}], "has the entries picture, and none of image, images"),
        ([["a.png", 3]], "begins with a str: give a tensor of images"),
        (3, "images is a int: give a DataLoader"),
    ],
)
def test_images_that_are_none(model: Any, given: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        convert(model, PLAN, given)


def test_images_of_another_size() -> None:
    stage = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1))
    fixed = nn.Sequential(stage, nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    plan = SharingPlan((Share("0.0", "0.1"),))
    text = r"cannot run on images of \(3, 64, 64\) .*: mat1 and mat2 shapes cannot be multiplied"
    with pytest.raises(UserError, match=text):
        convert(fixed, plan, images(*GOOD))


def test_unlabelled_images_where_accuracy_is_asked(model: Any) -> None:
    with pytest.raises(UserError, match="accuracy needs a class for each image, and evaluate has"):
        convert(model, PLAN, evaluate=images(*GOOD), progress=False)


def test_values_that_are_no_numbers(model: Any) -> None:
    broken = copy.deepcopy(model)
    broken.get_submodule("layer3.0.conv1").weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"NaN or infinity in 'layer3.0.conv1.weight'"):
        convert(broken, PLAN)
    broken = copy.deepcopy(model)
    broken.get_submodule("layer3.0.conv1").weight.data *= 1e38
    broken.get_submodule("layer3.0.bn1").weight.data *= 1e38
    with pytest.raises(UserError, match=r"layer 'layer3.0.conv1' of the source gives NaN or "):
        convert(broken, PLAN, images(*GOOD), progress=False)
    with pytest.raises(UserError, match="the calibration images hold NaN or infinity"):
        convert(model, PLAN, [torch.full(GOOD, float("nan"))], progress=False)


def test_a_budget_that_cannot_be_met(model: Any) -> None:
    with pytest.raises(UserError, match=r"a saving of 90.0% cannot be met: the most .* is \d"):
        suggest_plan(model, saving=0.9)
    with pytest.raises(UserError, match="a saving is a part of the parameters, between 0 and 1"):
        suggest_plan(model, saving=1.5)


def test_a_source_that_shares_is_fused_or_quantised(model: Any) -> None:
    shares = timm.create_model("test_kdna_resnet")
    with pytest.raises(PlanError, match="this network shares kernels already: convert the network"):
        convert(shares, PLAN)
    with pytest.raises(UserError, match=r"this network is fused .* convert it as it was trained"):
        convert(fuse(shares), PLAN)
    with pytest.raises(UserError, match=r"this network is fused \('bn1' is what is left"):
        convert(fuse(model), PLAN)
    quantised = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
        nn.Sequential(nn.Flatten(), nn.Linear(12, 12)), {nn.Linear}
    )
    with pytest.raises(UserError, match=r"this network is quantised .* in floating point"):
        convert(quantised, PLAN)
    with (
        pytest.raises(UserError, match="is on the meta device and has no values"),
        torch.device("meta"),
    ):
        convert(timm.create_model("test_resnet"), PLAN)
    with pytest.raises(UserError, match="has no weights: there is nothing to convert"):
        convert(nn.ReLU(), PLAN)
    name: Any = "resnet18"
    with pytest.raises(UserError, match="a network is needed, got a str"):
        convert(name, PLAN)


def test_a_target_of_another_family_or_with_other_parts(model: Any) -> None:
    with pytest.raises(UserError, match="kdna_resnet50 is made from resnet50, and the so"):
        grow(model, "kdna_resnet50")
    with pytest.raises(UserError, match=r"no network 'kdna_resnet19' .* did you mean"):
        grow(model, "kdna_resnet19")
    with pytest.raises(UserError, match="resnet18 shares no kernels: give a kdna_"):
        grow(model, "resnet18")
    deep = timm.create_model("resnet18", layers=(2, 3, 2, 2))
    with pytest.raises(UserError, match="layer2 of the source has 3 blocks, and that of kdna_resn"):
        grow(deep, "kdna_resnet18")
    with pytest.raises(UserError, match="the source is a Sequential that timm did not make"):
        grow(nn.Sequential(nn.Conv2d(3, 3, 1)), "kdna_resnet18")
