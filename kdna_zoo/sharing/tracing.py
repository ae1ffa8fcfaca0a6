"""Tracing a network (torch.fx) down to its convolutions, norms and child layers."""

from typing import Any

from timm.models import get_notrace_functions, get_notrace_modules
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdna_zoo.layers import Child


class NetworkTracer(fx.Tracer):
    """Traces down to convolutions, norms and child layers; leaves alone what timm does."""

    def __init__(self) -> None:
        functions: Any = get_notrace_functions  # not annotated in timm
        modules: Any = get_notrace_modules
        super().__init__(autowrap_functions=tuple(functions()))
        self.leaves = (_BatchNorm, Child, *modules())

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a module is one step of the trace."""
        return isinstance(m, self.leaves) or super().is_leaf_module(m, module_qualified_name)
