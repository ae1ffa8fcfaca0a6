"""The deployed form: equal outputs, no batch norm left that could be folded, exportable."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from timm.layers import create_feature_extractor
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

import kdna_zoo
from kdna_zoo.errors import UserError
from kdna_zoo.layers import AdapterName, Child
from kdna_zoo.sharing.deploy import Keep

NAMES = timm.list_models(["kdna_*", "test_kdna_*"])
TINY = timm.list_models("test_kdna_*")

on_each = pytest.mark.parametrize(
    "name",
    [n if n in TINY else pytest.param(n, marks=pytest.mark.integration) for n in NAMES],
)


def trained(name: str, size: int = 64) -> tuple[nn.Module, Tensor]:
    """A network with statistics and adapters far from their start, and images for it."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.data += 0.3 * torch.rand_like(tensor)
    return model.eval(), torch.randn(2, 3, size, size)


def difference(fused: nn.Module, model: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        expected = model(x)
        return float((fused(x) - expected).abs().max() / expected.abs().max())


def pointwise(model: nn.Module) -> bool:
    return any(isinstance(m, Child) and m.parent.weight[0, 0].numel() == 1 for m in model.modules())


@on_each
def test_speed_bakes_and_folds_everything(name: str) -> None:
    model, x = trained(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fused = kdna_zoo.fuse(model)
    assert difference(fused, model, x) < 1e-5
    assert not any(isinstance(m, Child | nn.BatchNorm2d) for m in fused.modules())
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before), "the model is left alone"


@on_each
def test_size_keeps_pointwise_parents_shared(name: str) -> None:
    model, x = trained(name)
    if not pointwise(model):
        with pytest.raises(UserError, match=r'no 1x1 kernel is shared .* use keep="speed"'):
            kdna_zoo.fuse(model, keep="size")
        return
    fused = kdna_zoo.fuse(model, keep="size")
    assert difference(fused, model, x) < 1e-5
    assert sum(p.numel() for p in fused.parameters()) <= sum(p.numel() for p in model.parameters())
    with_own = sum(p.numel() for p in kdna_zoo.fuse(model).parameters())
    assert sum(p.numel() for p in fused.parameters()) < with_own


@on_each
def test_timms_own_reparameterize_gives_the_same(name: str) -> None:
    model, x = trained(name)
    assert difference(reparameterize_model(model), model, x) < 1e-5


@pytest.mark.integration
@pytest.mark.parametrize("keep", ["speed", "size"])
@pytest.mark.parametrize("name", TINY)
def test_fused_is_a_network_like_any(name: str, keep: Keep) -> None:
    model, x = trained(name, 32)
    if keep == "size" and not pointwise(model):
        keep = "speed"
    fused = kdna_zoo.fuse(model, keep)
    other = kdna_zoo.fuse(timm.create_model(name, num_classes=7), keep)
    other.load_state_dict(fused.state_dict())
    assert difference(other, model, x) < 1e-5, "state_dict round trip"
    assert difference(copy.deepcopy(fused), model, x) < 1e-5

    batch = torch.export.Dim("batch", min=1, max=16)
    exported = torch.export.export(fused, (x,), dynamic_shapes=({0: batch},)).module()
    three = torch.randn(3, 3, 32, 32)
    assert difference(exported, model, three) < 1e-5
    torch._dynamo.reset()
    compiled = torch.compile(fused, fullgraph=True, backend="aot_eager")
    assert difference(compiled, model, x) < 1e-5


@pytest.mark.parametrize("keep", ["speed", "size"])
def test_fused_for_size_can_be_fused_again(keep: Keep) -> None:
    model, x = trained("test_kdna_mobilenetv2")
    fused = kdna_zoo.fuse(model, "size")
    assert difference(kdna_zoo.fuse(fused, keep), model, x) < 1e-5


def test_a_baked_kernel_is_never_the_parents_own_memory() -> None:
    """Once absorbed, no filter attention makes the child's kernel a tensor of its own."""
    model, x = trained("test_kdna_mobilenetv2")
    baked = reparameterize_model(kdna_zoo.fuse(model, "size"))
    assert difference(baked, model, x) < 1e-5
    pointers = [parameter.data_ptr() for parameter in baked.parameters()]
    assert len(pointers) == len(set(pointers))


@pytest.mark.parametrize("name", TINY)
def test_a_kernel_that_the_forward_pass_reads_is_not_folded(name: str) -> None:
    """In a traced network the children are gone, and their lines read the parent's weight."""
    model: Any
    model, x = trained(name)
    share = next(iter(model.sharing_plan))
    extractor = create_feature_extractor(model, [model.feature_info[-1]["module"]])
    fused = kdna_zoo.fuse(extractor)
    assert torch.equal(
        fused.get_parameter(f"{share.parent}.weight"),
        extractor.get_parameter(f"{share.parent}.weight"),
    )
    with torch.no_grad():
        (expected,), (found,) = extractor.eval()(x).values(), fused(x).values()
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    "name", ["resnetv2_50", "densenet121", "efficientnet_b0", "tf_efficientnet_b0"]
)
def test_other_networks_fold_what_can_be_folded(name: str) -> None:
    """Pre-activation networks use a convolution's output twice: those norms must stay."""
    model, x = trained(name)
    fused = kdna_zoo.fuse(model)
    assert difference(fused, model, x) < 1e-5
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (model, fused)]
    assert norms[1] < norms[0]


@pytest.mark.parametrize("adapter", ["full", "none"])
def test_blocks_that_merge_by_themselves(adapter: AdapterName) -> None:
    """RepVGG: 22 blocks of timm's two branches; where one gates its input, both have to stay."""
    model, x = trained("repvgg_a0")
    assert convs(kdna_zoo.fuse(model)) == convs(reparameterize_model(model)) == 22
    assert difference(kdna_zoo.fuse(model), model, x) < 1e-5
    plan = replace(kdna_zoo.auto_plan(model), adapter=adapter)
    blocks = {share.child.rpartition(".conv_")[0] for share in plan}
    kdna_zoo.share_kernels(model, plan)
    with pytest.raises(AttributeError, match=r"ChildConv2d has no weight .* Fuse the network fir"):
        reparameterize_model(model)
    fused = kdna_zoo.fuse(model)
    assert difference(fused, model, x) < 1e-5
    assert convs(fused) == 22 + (len(blocks) if adapter == "full" else 0)
    assert difference(reparameterize_model(fused), model, x) < 1e-5, "nothing is left to merge"
    assert difference(copy.deepcopy(fused), model, x) < 1e-5
    again = kdna_zoo.fuse(model)
    again.load_state_dict(fused.state_dict())


def convs(model: nn.Module) -> int:
    return sum(isinstance(module, nn.Conv2d) for module in model.modules())


def test_blocks_keep_the_type_of_their_numbers() -> None:
    model = timm.create_model("repvgg_a0").to(torch.bfloat16)
    assert {p.dtype for p in kdna_zoo.fuse(model).parameters()} == {torch.bfloat16}


def test_a_control_that_merging_would_damage_is_refused() -> None:
    model = timm.create_model("repvgg_a0")
    plan = replace(kdna_zoo.auto_plan(model), own_kernels=True)
    with pytest.raises(kdna_zoo.PlanError, match=r"a RepVggBlock that merges its kernels when it"):
        kdna_zoo.share_kernels(model, plan)
    kdna_zoo.share_kernels(model, replace(plan, adapter="none"))


def test_bias_and_filter_attention_go_into_the_norm() -> None:
    torch.manual_seed(0)
    parent = nn.Conv2d(4, 4, 1)
    block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), parent, nn.BatchNorm2d(4))
    plan = kdna_zoo.SharingPlan((kdna_zoo.Share("b.0", "b.2", reduction=2),))
    model = kdna_zoo.share_kernels(nn.ModuleDict({"b": block}), plan)["b"]
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.data += torch.rand_like(tensor)
    model.eval()
    fused = kdna_zoo.fuse(model, keep="size")
    assert difference(fused, model, torch.randn(2, 4, 5, 5)) < 1e-5
    assert fused[0].bias is None
    assert isinstance(fused[3], nn.BatchNorm2d), "the parent's kernel serves the child too"


def test_unknown_form_and_untraceable_network() -> None:
    with pytest.raises(UserError, match="unknown form 'small'; keep one of speed, size"):
        kdna_zoo.fuse(timm.create_model("test_kdna_resnet"), keep="small")

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x) if x.sum() > 0 else x

    with pytest.raises(UserError, match="cannot fold the batch norms, because this network cannot"):
        kdna_zoo.fuse(Branches())


def test_synchronised_norms_fold_too() -> None:
    model, x = trained("test_kdna_mobilenetv2")
    convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm  # not annotated in torch
    fused = kdna_zoo.fuse(convert(copy.deepcopy(model)))
    assert difference(fused, model, x) < 1e-5
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in fused.modules())


def test_a_form_for_size_can_train_on() -> None:
    model, x = trained("test_kdna_mobilenetv2")
    fused = kdna_zoo.fuse(model, keep="size").train()
    fused(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fused.parameters())
