"""The ordinary network inside a control of the ablation, whose children have kernels of their own.

Such a control (`ablation="own"`) has child layers without adapters, which compute what convolutions
and linear layers do. A conversion begins from those.
"""

import copy
from typing import TypeVar

from torch import nn

from kdna_zoo.layers import Child
from kdna_zoo.sharing.apply import SharesKernels

Network = TypeVar("Network", bound=nn.Module)


def plain(model: Network) -> Network:
    """Return a network without child layers, if its children are ordinary layers in disguise.

    Any other network is returned as it is.
    """
    children = {path: m for path, m in model.named_modules() if isinstance(m, Child)}
    if not children or any(not c.owns_kernel or c.adapter != "none" for c in children.values()):
        return model
    ordinary = copy.deepcopy(model)
    for path in children:
        child = ordinary.get_submodule(path)
        assert isinstance(child, Child)
        ordinary.set_submodule(path, child.fuse())
    if isinstance(ordinary, SharesKernels):
        del ordinary.sharing_plan
    return ordinary
