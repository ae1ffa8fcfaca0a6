"""All registered networks, found through timm's registry: none is listed here by hand."""

import re

import pytest
import timm
import torch
from timm.utils.model import reparameterize_model

import kdna_zoo  # noqa: F401  registers the names
from kdna_zoo.layers import Child

NAMES = timm.list_models(["kdna_*", "test_kdna_*"])


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(request.param).eval()


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("kdna_resnet18", 9_240_798),
        ("kdna_resnet50", 22_778_060),
        ("kdna_mobilenetv2", 3_136_840),
        ("kdna_mobilenetv2_050", 1_878_232),
    ],
)
def test_parameter_count_is_the_published_one(name: str, published: int) -> None:
    assert parameters(timm.create_model(name)) == published


def test_docstring_states_the_count(model: torch.nn.Module) -> None:
    name = model.pretrained_cfg["architecture"]
    stated = re.search(r"([\d,]+) parameters", timm.model_entrypoint(name).__doc__ or "")
    if not name.startswith("test_"):
        assert stated, "say the parameter count in the entry point's docstring"
        assert int(stated[1].replace(",", "")) == parameters(model)


def test_forward_at_224_and_at_an_odd_size(model: torch.nn.Module) -> None:
    for size in (224, 97):
        with torch.no_grad():
            y = model(torch.randn(2, 3, size, size))
        assert y.shape == (2, 1000)
        assert y.isfinite().all()


def test_state_dict_has_no_aliased_tensor(model: torch.nn.Module) -> None:
    pointers = [t.data_ptr() for t in model.state_dict().values() if t.numel()]
    assert len(pointers) == len(set(pointers))


def test_each_parent_has_one_owner(model: torch.nn.Module) -> None:
    modules = dict(model.named_modules(remove_duplicate=False))
    children = {p: m for p, m in modules.items() if isinstance(m, Child)}
    assert sorted(children) == sorted(share.child for share in model.sharing_plan)
    for share in model.sharing_plan:
        assert children[share.child].parent is modules[share.parent]
        owners = [path for path, m in modules.items() if m is modules[share.parent]]
        assert owners == [share.parent]


def test_backward_reaches_every_parameter(model: torch.nn.Module) -> None:
    model.train()
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    model.zero_grad()
    model.eval()
    assert not missing


def test_state_dict_round_trip(model: torch.nn.Module) -> None:
    name, x = model.pretrained_cfg["architecture"], torch.randn(1, 3, 64, 64)
    other = timm.create_model(name).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(other(x), model(x))


def test_features_only_matches_the_forward_pass(model: torch.nn.Module) -> None:
    name = model.pretrained_cfg["architecture"]
    features = timm.create_model(name, features_only=True).eval()
    shapes = [tuple(f.shape) for f in features(torch.randn(2, 3, 64, 64))]
    info = features.feature_info
    assert shapes == [
        (2, channels, 64 // reduction, 64 // reduction)
        for channels, reduction in zip(info.channels(), info.reduction(), strict=True)
    ]


def test_fused_by_timm_equals_unfused(model: torch.nn.Module) -> None:
    fused = reparameterize_model(model)
    assert not any(isinstance(m, Child) for m in fused.modules())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)
        error = (fused(x) - expected).abs().max() / expected.abs().max()
    assert error < 1e-5


def test_depths_of_the_users_choice_follow_the_rule() -> None:
    model = timm.create_model("kdna_resnet18", layers=(2, 2, 2, 2))
    assert [share.child for share in model.sharing_plan] == [
        "layer3.0.conv2",
        "layer3.1.conv1",
        "layer4.0.conv2",
        "layer4.1.conv1",
    ]


def test_no_weights_are_claimed_that_do_not_exist() -> None:
    assert timm.list_pretrained(["kdna_*", "test_kdna_*"]) == []
    with pytest.raises(RuntimeError, match="No pretrained weights exist for kdna_resnet18"):
        timm.create_model("kdna_resnet18", pretrained=True)
