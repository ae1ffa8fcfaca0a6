"""A case is the network it says, in the form it says, and its step does what it says."""

import pytest
import timm
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.modules.batchnorm import _BatchNorm

import kdna_zoo  # noqa: F401  registers the names
from kdna_zoo.analysis.bench.cases import (
    BenchmarkCase,
    Setting,
    build_network,
    make_runner,
    split_control,
)
from kdna_zoo.analysis.bench.compat import failing_past_the_recompile_limit
from kdna_zoo.errors import UserError
from kdna_zoo.layers import Child
from kdna_zoo.sharing import CONTROLS

SMALL = Setting(batch_size=2, img_size=32)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def test_own_is_timms_base_of_the_same_depths() -> None:
    own = build_network("own:kdna_resnet18")
    assert shapes(own) == shapes(timm.create_model("resnet18", layers=(2, 2, 3, 3)))


@pytest.mark.parametrize("name", timm.list_models("test_kdna_*"))
def test_own_has_the_networks_layers_and_no_child(name: str) -> None:
    own, shared = build_network(f"own:{name}"), timm.create_model(name)
    assert not any(isinstance(m, Child) for m in own.modules())
    adapters = [path for path, m in shared.named_modules() if isinstance(m, Child)]
    plain = {k: v for k, v in shapes(shared).items() if not k.startswith(tuple(adapters))}
    assert plain.items() <= shapes(own).items()
    assert {k for k in shapes(own) if k not in plain} >= {f"{path}.weight" for path in adapters}


@pytest.mark.parametrize("control", CONTROLS)
def test_each_control_of_the_ablation(control: str) -> None:
    model = timm.create_model("test_kdna_resnet", ablation=control)
    assert shapes(build_network(f"{control}:test_kdna_resnet")) == shapes(model)


@pytest.mark.parametrize("control", ["own", "shared_static"])
def test_a_control_of_a_network_that_shares_nothing(control: str) -> None:
    said = rf"test_resnet shares nothing, .* leave '{control}:' away"
    with pytest.raises(UserError, match=said):
        build_network(f"{control}:test_resnet")


def test_a_place_is_no_control() -> None:
    assert split_control("local-dir:own") == ("", "local-dir:own")
    assert split_control("own:local-dir:published") == ("own", "local-dir:published")


def test_no_norm_starts_at_zero() -> None:
    assert not timm.create_model("resnet18").layer1[0].bn2.weight.any(), "as timm starts"
    norms = [m for m in build_network("resnet18").modules() if isinstance(m, _BatchNorm)]
    assert all(norm.weight.all() for norm in norms)


@pytest.mark.parametrize("form", ["eager", "channels_last", "fused", "fused_channels_last"])
def test_inference_in_each_form(form: str) -> None:
    seen: list[nn.Module] = []
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, args, output: seen.append(module)
    )
    runner = make_runner(BenchmarkCase("test_kdna_resnet", form), SMALL)
    seen.clear()
    runner.step()
    hook.remove()
    model = seen[-1]
    fused, last = form.startswith("fused"), form.endswith("channels_last")
    assert not model.training
    assert any(isinstance(m, Child) for m in model.modules()) is not fused
    assert any(isinstance(m, _BatchNorm) for m in model.modules()) is not fused
    weight = model.get_submodule("layer3.1.conv2").weight
    assert weight.is_contiguous(memory_format=torch.channels_last) is last
    assert runner.parameters == sum(p.numel() for p in model.parameters())


def test_a_fused_control_has_its_norms_folded() -> None:
    eager, fused = (
        make_runner(BenchmarkCase("own:test_kdna_resnet", form), SMALL).parameters
        for form in ("eager", "fused")
    )
    norms = [
        m for m in build_network("own:test_kdna_resnet").modules() if isinstance(m, _BatchNorm)
    ]
    assert eager - fused == sum(
        norm.num_features for norm in norms
    )  # weight and bias become a bias


def test_a_training_step_updates_the_network() -> None:
    seen: list[nn.Module] = []
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, args, output: seen.append(module)
    )
    runner = make_runner(BenchmarkCase("test_kdna_resnet", "eager"), Setting("train", 2, 64))
    hook.remove()
    model = seen[-1]
    before = [p.detach().clone() for p in model.parameters()]
    runner.step()
    runner.step()
    assert model.training
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert all(moved)
    assert all(p.grad is None for p in model.parameters()), "a resting case holds no gradients"


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_bfloat16(mode: str) -> None:
    seen: list[torch.dtype] = []

    def note(module: nn.Module, args: object, output: object) -> None:
        if isinstance(module, nn.Conv2d) and isinstance(output, torch.Tensor):
            seen.append(output.dtype)

    setting = Setting(mode, 2, 64, dtype="bfloat16")
    runner = make_runner(BenchmarkCase("test_kdna_resnet", "eager"), setting)
    with nn.modules.module.register_module_forward_hook(note):
        runner.step()
    assert set(seen) == {torch.bfloat16}


@pytest.mark.integration
def test_each_of_many_compiled_networks_is_compiled() -> None:
    """Networks of one class are recompilations of its forward, which torch limits to eight."""
    torch.compiler.reset()
    before = counters["stats"]["unique_graphs"]
    # torch's own way to set and restore: its settings take no setattr and delattr from others
    too_few = torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=False)
    with too_few, failing_past_the_recompile_limit():
        for name in ("test_kdna_resnet", "own:test_kdna_resnet"):
            make_runner(BenchmarkCase(name, "compiled"), SMALL).step()
    assert counters["stats"]["unique_graphs"] == before + 2


def test_fused_forms_do_not_train() -> None:
    with pytest.raises(UserError, match="train one of eager, channels_last, compiled, comp"):
        make_runner(BenchmarkCase("test_kdna_resnet", "fused"), Setting("train"))


def test_cuda_graphs_need_a_gpu() -> None:
    with pytest.raises(UserError, match="'compiled_graphs' has CUDA graphs, so it needs --device"):
        make_runner(BenchmarkCase("test_kdna_resnet", "compiled_graphs"), SMALL)
