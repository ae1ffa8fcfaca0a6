"""Where a network's parameters are, each layer's own and what it borrows, and from whom."""

from dataclasses import dataclass

from torch import nn

from kdna_zoo.layers import Child
from kdna_zoo.sharing.apply import SharesKernels
from kdna_zoo.sharing.plan import PlanError, Share, SharingPlan


@dataclass(frozen=True)
class LayerParameters:
    """Parameter counts of one layer.

    Attributes:
        path: Module path of the layer.
        own: Parameters the layer owns, without an adapter.
        shared: Parameters it uses that another layer owns; not counted again in any total.
        adapter: Parameters of its channel attention and static modulation.
    """

    path: str
    own: int
    shared: int
    adapter: int


def audit(model: nn.Module) -> list[LayerParameters]:
    """Count the parameters of each layer that has any, in the network's order.

    The sum of ``own`` and ``adapter`` over all layers is the network's parameter count.
    """
    rows: list[LayerParameters] = []
    children: list[str] = []
    for path, module in model.named_modules():
        if any(path.startswith(f"{child}.") for child in children):
            continue  # part of an adapter, counted with its child
        own = sum(p.numel() for p in module.parameters(recurse=False))
        if isinstance(module, Child):
            children.append(path)
            adapter = sum(p.numel() for p in module.parameters()) - own
            shared = 0 if module.owns_kernel else module.parent.weight.numel()
            rows.append(LayerParameters(path, own, shared, adapter))
        elif own:
            rows.append(LayerParameters(path, own, 0, 0))
    return rows


def plan_of(model: nn.Module) -> SharingPlan | None:
    """Return the plan by which a network shares, whatever its family and whoever applied it.

    It is the plan that `share_kernels` left on the network, as long as that is what the network
    has; of a network that wraps another, as ``features_only`` does, it is read off the layers, with
    the paths they have there. It goes to JSON by `SharingPlan.to_dict`; `share_kernels` applied to
    the base network with `SharingPlan.from_dict` of that makes the same network again.

    Args:
        model: The network, not fused.

    Returns:
        The plan, or None if no layer is a child.

    Raises:
        PlanError: If a parent is no part of the network any more, so that its kernel would be
            neither trained nor saved.
    """
    children = {path: m for path, m in model.named_modules() if isinstance(m, Child)}
    if not children:
        return None
    paths = {id(module): path for path, module in model.named_modules()}
    for path, child in children.items():
        if id(child.parent) not in paths:
            raise PlanError(
                f"the parent of {path!r} is no part of this network, so that its kernel would be "
                "neither trained nor saved; take the network apart before it shares kernels"
            )
    kept = model.sharing_plan if isinstance(model, SharesKernels) else None
    if kept is not None and {share.child for share in kept} == set(children):
        return kept
    first = next(iter(children.values()))
    if first.owns_kernel:
        raise PlanError("the plan of own kernels is not kept on this network, and cannot be read")
    shares = (Share(p, paths[id(c.parent)], c.reduction) for p, c in children.items())
    return SharingPlan(tuple(shares), first.norm, first.adapter)
