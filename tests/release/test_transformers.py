"""A published folder in transformers: its own classes for timm's networks, with the same logits."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from kdna_zoo.models.published import read_config
from kdna_zoo.records.record import parse_record
from kdna_zoo.release.checkpoint import TrainedModel
from kdna_zoo.release.folder import write_folder

from .support import LABELS, SIZE, make_record

transformers: Any = pytest.importorskip("transformers")

NETWORKS: dict[str, dict[str, Any]] = {
    "test_kdna_resnet": {},
    "test_kdna_convnext": {"ablation": "shared_channel"},
    "test_resnet": {},  # timm's own, which shares nothing
}


@pytest.fixture(scope="module", params=NETWORKS)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    arch, arguments = request.param, NETWORKS[request.param]
    torch.manual_seed(0)
    model = timm.create_model(arch, num_classes=len(LABELS), **arguments)
    record = parse_record(make_record(arch=arch, arch_args=arguments))
    return write_folder(
        TrainedModel(model.eval(), record, "raw", averaged=False),
        tmp_path_factory.mktemp("x") / "x",
    )


def test_the_same_logits_and_labels(published: Path) -> None:
    images = torch.randn(2, 3, SIZE, SIZE)
    ours = timm.create_model(f"local-dir:{published}", pretrained=True).eval()
    for kind in ("TimmWrapperForImageClassification", "AutoModelForImageClassification"):
        theirs = getattr(transformers, kind).from_pretrained(published).eval()
        with torch.inference_mode():
            torch.testing.assert_close(theirs(images).logits, ours(images))
        assert list(theirs.config.id2label.values()) == LABELS
    features = transformers.AutoModel.from_pretrained(published).eval()
    with torch.inference_mode():
        found = features(images).last_hidden_state
        torch.testing.assert_close(found, ours.forward_features(images))


def test_as_a_pipeline(published: Path) -> None:
    picture = Path(__file__).parents[2] / "kdna_zoo" / "release" / "examples" / "0.png"
    classify = transformers.pipeline("image-classification", model=str(published))
    answers = classify(str(picture))
    assert {answer["label"] for answer in answers} == set(LABELS)
    assert sum(answer["score"] for answer in answers) == pytest.approx(1, abs=1e-5)


def test_as_a_backbone(published: Path) -> None:
    config = transformers.TimmBackboneConfig(backbone=f"local-dir:{published}")
    backbone = transformers.TimmBackbone(config)
    images = torch.randn(1, 3, SIZE, SIZE)
    ours = timm.create_model(f"local-dir:{published}", features_only=True)
    shapes = [tuple(feature.shape) for feature in backbone.eval()(images).feature_maps]
    assert shapes == [tuple(ours.eval()(images)[-1].shape)]


def test_saved_by_transformers_it_is_one_of_ours_no_more(published: Path, tmp_path: Path) -> None:
    """It writes its own names for the weights, under which timm would find none of them."""
    network = transformers.TimmWrapperForImageClassification.from_pretrained(published)
    network.save_pretrained(tmp_path / "saved")
    again = transformers.TimmWrapperForImageClassification.from_pretrained(tmp_path / "saved")
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        assert torch.equal(network.eval()(images).logits, again.eval()(images).logits)
    assert read_config(tmp_path / "saved" / "config.json")["num_classes"] == len(LABELS)
