"""A plan from CKA saves what was asked for with the most similar layers, or says what can be."""

import itertools

import pytest
import timm
import torch
from torch import Tensor, nn

import kdna_zoo  # noqa: F401  registers the names
from kdna_zoo import PlanError, SharingPlan, audit, share_kernels
from kdna_zoo.analysis.cka.cka import Cka, measure_cka
from kdna_zoo.analysis.cka.layer_outputs import choose_layers
from kdna_zoo.analysis.cka.suggestion import suggest_plan
from kdna_zoo.errors import UserError
from kdna_zoo.sharing import stage_of


def meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, **options)


def cka_of(model: nn.Module, matrix: Tensor | None = None, seed: int = 0) -> Cka:
    """A CKA with made-up values: random ones, symmetric, if not given."""
    layers = tuple(choose_layers(model))
    if matrix is None:
        generator = torch.Generator().manual_seed(seed)
        half = torch.rand(len(layers), len(layers), generator=generator, dtype=torch.float64)
        matrix = (half + half.T) / 2
    return Cka(("net", "net"), layers, layers, matrix, 8, 4)


def with_values(model: nn.Module, values: dict[tuple[str, str], float], rest: float = 0.1) -> Cka:
    layers = choose_layers(model)
    matrix = torch.full((len(layers), len(layers)), rest, dtype=torch.float64)
    for (a, b), value in values.items():
        i, j = layers.index(a), layers.index(b)
        matrix[i, j] = matrix[j, i] = value
    return cka_of(model, matrix)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def saving(name: str, plan: SharingPlan, **options: object) -> float:
    model = meta(name, **options)
    before = count(model)
    return 1 - count(share_kernels(model, plan)) / before


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "convnext_tiny", "mobilenetv2_100"])
@pytest.mark.parametrize("asked", [0.02, 0.1])
def test_saves_at_least_what_is_asked_and_no_child_could_be_spared(name: str, asked: float) -> None:
    model = meta(name)
    norm = "layer" if "convnext" in name else "batch"
    plan = suggest_plan(cka_of(model), model, asked, norm=norm)
    got = saving(name, plan)
    assert got >= asked
    order = choose_layers(model)
    for share in plan:
        assert order.index(share.child) < order.index(share.parent), "as in all published plans"
        assert stage_of(model, share.child) == stage_of(model, share.parent)
    shared = share_kernels(meta(name), plan)
    kept = {row.path: row.shared - row.adapter for row in audit(shared) if row.shared}
    assert min(kept.values()) > 0, "each child saves"
    assert got - min(kept.values()) / count(model) < asked, "all are needed"


def test_the_most_similar_share() -> None:
    model = meta("resnet18", layers=(1, 1, 4, 1))
    conv = "layer3.{}.conv2".format
    cka = with_values(
        model,
        {(conv(0), conv(2)): 0.9, (conv(1), conv(3)): 0.8, ("layer3.1.conv1", conv(1)): 0.99},
    )
    plan = suggest_plan(cka, model, 0.1)
    assert list(map(str, plan)) == [
        f"{conv(0)} <- {conv(2)} (r=4)",
        f"{conv(1)} <- {conv(3)} (r=4)",
    ]
    assert len(suggest_plan(cka, model, 0.03)) == 1
    across = suggest_plan(cka, model, 0.03, across_roles=True)
    assert str(across) == f"layer3.1.conv1 <- {conv(1)} (r=4)"


def test_a_parent_that_becomes_a_child_hands_its_children_on() -> None:
    model = meta("resnet18", layers=(1, 1, 3, 1))
    a, b, c = (f"layer3.{i}.conv2" for i in range(3))
    cka = with_values(model, {(a, b): 0.9, (b, c): 0.8, (a, c): 0.7}, rest=0.0)
    plan = suggest_plan(cka, model, 0.1)
    pairs = {share.child: share.parent for share in plan}
    assert pairs[a] == c
    assert pairs[b] == c, "all take from the last"


def test_greedy_is_close_to_the_best_of_all_plans() -> None:
    """Of plans for one group with as many children, none has a better worst pair by much."""
    model = meta("resnet18", layers=(1, 1, 1, 6))
    names = [f"layer4.{i}.conv2" for i in range(6)]
    lost = []
    for seed in range(10):
        cka = cka_of(model, seed=seed)
        index = {p: i for i, p in enumerate(cka.rows)}
        only = [index[n] for n in names]
        sub = Cka(cka.networks, tuple(names), tuple(names), cka.matrix[only][:, only], 8, 4)
        plan = suggest_plan(sub, model, 0.15)

        def worst(parents: tuple[int, ...], children: tuple[int, ...], m: Tensor) -> float:
            return min(max(float(m[c, p]) for p in parents if p > c) for c in children)

        splits = []
        for children in itertools.combinations(range(5), len(plan)):
            parents = tuple(i for i in range(6) if i not in children)
            splits.append(worst(parents, children, sub.matrix))
        ours = min(float(cka.matrix[index[s.child], index[s.parent]]) for s in plan)
        lost.append(max(splits) - ours)
    assert min(lost) >= 0
    assert lost.count(0.0) >= 5
    assert sum(lost) / len(lost) < 0.05


def test_the_largest_saving_can_be_asked_for_and_no_more() -> None:
    model = meta("resnet18")
    with pytest.raises(UserError, match="be met: the most that these layers can save is ") as error:
        suggest_plan(cka_of(model), model, 0.9)
    assert "or let layers of different roles share" in str(error.value)
    most = int(str(error.value).split("(")[1].split(" of ")[0].replace(",", ""))
    plan = suggest_plan(cka_of(model), model, most / count(model))
    assert saving("resnet18", plan) == pytest.approx(most / count(model), abs=1e-12)
    with pytest.raises(UserError, match="cannot be met"):
        suggest_plan(cka_of(model), model, (most + 1) / count(model))
    across = suggest_plan(cka_of(model), model, 0.5, across_roles=True)
    assert saving("resnet18", across) >= 0.5
    with pytest.raises(UserError, match=r"one kernel; ask for less$"):
        suggest_plan(cka_of(model), model, 0.9, across_roles=True)


def test_dead_layers_and_those_not_measured_are_left_alone() -> None:
    model = meta("resnet18")
    cka = cka_of(model)
    cka.matrix[cka.rows.index("layer4.0.conv2")] = torch.nan
    cka.matrix[:, cka.rows.index("layer4.0.conv2")] = torch.nan
    with pytest.raises(UserError, match="cannot be met"):
        suggest_plan(cka, model, 0.2)
    layers = tuple(choose_layers(model, ["layer3.*"]))
    some = Cka(("a", "a"), layers, layers, torch.eye(len(layers)).double(), 8, 4)
    plan = suggest_plan(some, model, 0.03)
    assert {share.child.split(".")[0] for share in plan} == {"layer3"}


def test_of_a_real_network() -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_kdna_resnet", attn_norm="layer")
    torch.manual_seed(0)
    base = timm.create_model(model.base_arch, **model.base_args)
    cka = measure_cka(base, [torch.randn(6, 3, 32, 32) for _ in range(2)])
    before = count(base)
    plan = suggest_plan(cka, base, 0.05)
    share_kernels(base, plan)
    assert 1 - count(base) / before >= 0.05
    assert base.eval()(torch.randn(2, 3, 32, 32)).isfinite().all()


def test_mistakes() -> None:
    model = meta("resnet18")
    cka = cka_of(model)
    for wrong in (0, 1, -0.5, 20, torch.nan):
        with pytest.raises(UserError, match="a part of the parameters, between 0 and 1; got"):
            suggest_plan(cka, model, wrong)
    with pytest.raises(PlanError, match=r"has a sharing plan already, .* suggest one for its base"):
        suggest_plan(cka, meta("kdna_resnet18"))
    with pytest.raises(PlanError, match="a reduction must be at least 1, got 0"):
        suggest_plan(cka, model, reduction=0)
    two = Cka(("a", "b"), cka.rows, cka.rows, cka.matrix, 8, 4)
    with pytest.raises(UserError, match="CKA of one network with itself, and this is of a against"):
        suggest_plan(two, model)
    with pytest.raises(UserError, match=r"of a layer 'conv1', which EfficientNet has not"):
        suggest_plan(cka, meta("mobilenetv2_100"))
