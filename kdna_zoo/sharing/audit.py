"""Where a network's parameters are: each layer's own, its adapter, and what it borrows."""

from dataclasses import dataclass

from torch import nn

from kdna_zoo.layers import Child


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
