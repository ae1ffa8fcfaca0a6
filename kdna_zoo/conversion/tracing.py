"""Finding the spaces of channels of a network, and which norm follows which layer, by a trace.

See spaces.py for what a space is and by which rules it is found.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.node import map_arg
from torch.nn.modules.batchnorm import _BatchNorm

from kdna_zoo.conversion.labels import Labels
from kdna_zoo.conversion.spaces import Space, Touch
from kdna_zoo.sharing.tracing import NetworkTracer

CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
EQUAL = 1e-4  # relative: sums in another order differ by less, other sums by more


@dataclass(frozen=True)
class Structure:
    """What a trace tells of a network.

    Attributes:
        spaces: The spaces of channels that can be permuted.
        norms: Path of each layer whose output goes to a batch norm and nowhere else -> its path.
        problem: Why the network could not be traced; empty if it could.
    """

    spaces: list[Space]
    norms: dict[str, str]
    problem: str = ""

    def space_of(self, key: str, dim: int) -> int | None:
        """Return the index of the space that is a dimension of a tensor, if it can be permuted."""
        for index, space in enumerate(self.spaces):
            if any((touch.key, touch.dim) == (key, dim) for touch in space.touches):
                return index
        return None


def find_structure(model: nn.Module, sample: Tensor) -> Structure:
    """Trace a network, and find its spaces.

    Args:
        model: The network in eval mode; it is left as it is.
        sample: An image that it takes, (1, C, H, W).
    """
    try:
        graph = NetworkTracer().trace(model)
        walk = _Walk(model, graph)
        with torch.no_grad():
            walk.run(sample)
    except Exception as error:  # a trace runs the network's own code, which may raise anything
        reason = str(error).strip().splitlines()
        return Structure([], {}, reason[0] if reason else type(error).__name__)
    return Structure(_usable(model, walk.labels.spaces()), _norms(model, graph))


def _usable(model: nn.Module, spaces: list[Space]) -> list[Space]:
    """Leave out spaces of tensors that are no layer's own, or of two."""
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    ids = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    return [
        space
        for space in spaces
        if all(t.key in state and ids[id(state[t.key])] < 2 for t in space.touches)
    ]


def _norms(model: nn.Module, graph: fx.Graph) -> dict[str, str]:
    modules = dict(model.named_modules())
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    pairs: dict[str, str] = {}
    for node in graph.nodes:
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            continue
        before = node.args[0]
        if before.op == "call_module" and len(before.users) == 1 and calls[before.target] == 1:
            pairs[str(before.target)] = str(node.target)
    return pairs


Label = tuple[int, int]  # the dimension of the channels, and the label of their space


class _Walk(fx.Interpreter):
    """Runs a trace, and labels the channels of each value."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(fx.GraphModule(model, graph))
        self.labels = Labels()
        self._of: dict[fx.Node, Label] = {}
        self._weights: dict[str, tuple[int, int]] = {}  # labels of a layer that ran
        self._random = torch.Generator().manual_seed(0)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        inputs = [node for node in n.all_input_nodes if node in self._of]
        if n.op == "output":
            self._fix(inputs)
        elif n.op == "get_attr":
            self._read(n, value)
        elif n.op == "call_module" and type(self.submodules[n.target]) in CONVOLUTIONS:
            self._convolve(n, self.submodules[n.target], 1)
        elif n.op == "call_module" and type(self.submodules[n.target]) is nn.Linear:
            self._convolve(n, self.submodules[n.target], value.ndim - 1)
        elif inputs and _tensors(value):
            self._try(n, value, inputs)
        return value

    def _fix(self, nodes: list[fx.Node]) -> None:
        for node in nodes:
            self.labels.fix(self._of[node][1])

    def _read(self, node: fx.Node, value: Any) -> None:
        """Label a vector of the network's own, such as the scale of a layer."""
        long = [d for d, size in enumerate(value.shape) if size > 1] if _tensors(value) else []
        if len(long) == 1 and value.is_floating_point():
            key, dim = str(node.target), long[0]
            if key not in self._weights:
                label = self.labels.new(value.shape[dim])
                self.labels.touch(label, Touch(key, dim))
                self._weights[key] = label, label
            self._of[node] = dim, self._weights[key][0]

    def _convolve(self, node: fx.Node, layer: Any, dim: int) -> None:
        """A layer reads its input's space and begins a new one, or goes on in it if depthwise."""
        path, source = str(node.target), node.all_input_nodes[0]
        groups = getattr(layer, "groups", 1)
        inner, outer = layer.weight.shape[1] * groups, layer.weight.shape[0]
        if path not in self._weights:
            before, after = self.labels.new(inner), self.labels.new(outer)
            self.labels.touch(after, Touch(f"{path}.weight", 0))
            if layer.bias is not None:
                self.labels.touch(after, Touch(f"{path}.bias", 0))
            if groups == inner == outer:
                self.labels.unite(before, after)
            else:
                self.labels.touch(before, Touch(f"{path}.weight", 1, groups))
                if groups > 1:
                    self.labels.bundle(before, after, groups)
            self._weights[path] = before, after
        before, after = self._weights[path]
        if self._of.get(source, (None,))[0] == dim:
            self.labels.unite(self._of[source][1], before)
        else:
            self.labels.fix(before)
            self._fix([source] if source in self._of else [])
        self._of[node] = dim, after

    def _try(self, node: fx.Node, value: Any, inputs: list[fx.Node]) -> None:
        """See on random numbers what a step makes of permuted channels."""
        sizes = {self.labels.size(self._of[i][1]) for i in inputs}
        outcome = self._outcome(node, value, inputs, sizes.pop()) if len(sizes) == 1 else None
        if outcome is None:
            self._fix(inputs)
            return
        dim, keys = outcome
        label = self._of[inputs[0]][1]
        for other in inputs[1:]:
            self.labels.unite(label, self._of[other][1])
        for key in keys:
            self.labels.touch(label, key)
        if dim is not None:
            self._of[node] = dim, label

    def _outcome(
        self, node: fx.Node, value: Any, inputs: list[fx.Node], size: int
    ) -> tuple[int | None, list[Touch]] | None:
        """Return where the channels are in the output, if anywhere, and which tensors move along.

        None if the step mixes the channels.
        """
        if not isinstance(value, Tensor) or size < 2:
            return None
        order = torch.arange(size).roll(1)[torch.randperm(size, generator=self._random)]
        if torch.equal(order, torch.arange(size)):
            order = order.roll(1)
        plain: dict[fx.Node, Any] = {}
        moved: dict[fx.Node, Any] = {}
        for i in node.all_input_nodes:
            given = self.env[i]
            if isinstance(given, Tensor) and given.is_floating_point():
                drawn = torch.randn(given.shape, generator=self._random)
                given = drawn.to(given.device, given.dtype)
            plain[i] = moved[i] = given
            if i in self._of:
                moved[i] = given.index_select(self._of[i][0], order.to(given.device))
        touches: list[Touch] = []
        state: dict[str, Tensor] = {}
        if node.op == "call_module":
            module = self.submodules[node.target]
            state, wide = _vectors(module, size)
            if wide:
                return None
            touches = [
                Touch(f"{node.target}.{key}", t.shape.index(size)) for key, t in state.items()
            ]
        first = self._call(node, plain, {})
        second = self._call(node, moved, {k: _moved(t, order, size) for k, t in state.items()})
        if not (isinstance(first, Tensor) and first.shape == second.shape):
            return None
        for dim, length in enumerate(first.shape):
            place = order.to(first.device)
            if length == size and _equal(first.index_select(dim, place), second):
                return dim, touches
        return (None, touches) if _equal(first, second) else None

    def _call(self, node: fx.Node, values: dict[fx.Node, Any], state: dict[str, Tensor]) -> Any:
        def fresh(i: fx.Node) -> Any:
            return values[i].clone() if isinstance(values[i], Tensor) else values[i]

        args, kwargs = map_arg(node.args, fresh), map_arg(node.kwargs, fresh)
        if node.op == "call_module":
            return functional_call(self.submodules[node.target], state, args, kwargs)
        call = self.call_function if node.op == "call_function" else self.call_method
        return call(node.target, args, kwargs)


def _vectors(module: nn.Module, size: int) -> tuple[dict[str, Tensor], bool]:
    """Return a module's vectors with one number for each channel, and whether it has more."""
    found: dict[str, Tensor] = {}
    for key, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.numel() == size and size in tensor.shape:
            found[key] = tensor
        elif tensor.numel() > 1:
            return {}, True
    return found, False


def _moved(tensor: Tensor, order: Tensor, size: int) -> Tensor:
    return tensor.index_select(tensor.shape.index(size), order.to(tensor.device))


def _tensors(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_tensors, value))
    return isinstance(value, Tensor)


def _equal(first: Tensor, second: Tensor) -> bool:
    if not first.is_floating_point():
        return torch.equal(first, second)
    scale = float(first.nan_to_num(0, 0, 0).abs().max()) if first.numel() else 0.0
    return torch.allclose(first, second, EQUAL, EQUAL * scale, equal_nan=True)
