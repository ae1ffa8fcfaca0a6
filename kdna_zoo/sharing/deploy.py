"""The deployed form of a network: child kernels baked in, batch norms folded.

A child kernel W_j = W_p * (1 + a_f) * (1 + a_s) is a constant once training is over. `fuse` forms
it once, and folds each BatchNorm that follows a convolution into it. What stays dynamic is the
channel attention. Blocks of timm that merge their own branches or norms (RepVGG, MobileOne and
others) do so in between, by ``timm.utils.reparameterize_model``, where no channel attention stands
in the way. There are two forms:

* ``"speed"``: each child gets a kernel of its own, with everything folded;
* ``"size"``: 1x1 children keep using their parent's kernel, so that the network stays as small as
  in training. Their filter attention a_f scales the output, and goes into the BatchNorm after it.

Which BatchNorm follows which convolution is read off a trace (torch.fx) and not guessed from names.
"""

import copy
from typing import Any, Literal, TypeVar, cast, get_args

import torch
from timm.layers import Conv2dSame
from timm.utils.model import reparameterize_model
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from kdna_zoo.errors import UserError
from kdna_zoo.layers import ChannelAttention, Child, ChildConv2d, fold_batch_norm
from kdna_zoo.sharing.apply import WAYS_TO_MERGE
from kdna_zoo.sharing.tracing import NetworkTracer

Keep = Literal["speed", "size"]
Network = TypeVar("Network", bound=nn.Module)


def fuse(model: Network, keep: Keep = "speed") -> Network:
    """Return a copy of the network in its deployed form, in eval mode.

    Args:
        model: Any network; one without children gets its batch norms folded.
        keep: ``"speed"`` or ``"size"``, see above.

    Raises:
        UserError: If ``keep`` is neither, if there is nothing to keep for ``"size"``, or if the
            network's forward pass cannot be traced.
    """
    if keep not in get_args(Keep):
        raise UserError(f"unknown form {keep!r}; keep one of {', '.join(get_args(Keep))}")
    fused = copy.deepcopy(model).eval()
    children = {path: m for path, m in fused.named_modules() if isinstance(m, Child)}
    kept = [child for child in children.values() if keep == "size" and _shares_pointwise(child)]
    if keep == "size" and not kept:
        raise UserError(
            'no 1x1 kernel is shared in this network, so keep="size" would save nothing; '
            'use keep="speed"'
        )
    for path, child in children.items():
        if child in kept:
            child.fuse_attention()
        else:
            fused.set_submodule(path, child.fuse())
    parents = {child.parent for child in kept}
    unmerged = _reparameterize(fused, {*kept, *parents})
    fused.eval()
    for layer_path, norm_path in _followed_by_norm(fused).items():
        layer, norm = fused.get_submodule(layer_path), fused.get_submodule(norm_path)
        assert isinstance(norm, _BatchNorm)
        if isinstance(layer, Child):
            _absorb_filter_attention(layer, norm)
        elif layer not in parents:
            fused.set_submodule(layer_path, fold_batch_norm(cast("nn.Conv2d", layer), norm))
            fused.set_submodule(norm_path, _without_norm(norm))
    for path in unmerged:
        _seal(fused, path)
    return fused


def _reparameterize(module: nn.Module, left_alone: set[nn.Module], at: str = "") -> list[str]:
    """Let the blocks below a module merge what they can by their own means, in place.

    A block that reads the weight of a layer that gates its input fails, and stays as it was.

    Returns:
        The paths of the outermost blocks that failed.
    """
    unmerged: list[str] = []
    for name, block in list(module.named_children()):
        if isinstance(block, Child | ChannelAttention):
            continue
        path, failed = f"{at}{name}", False
        merges = any(hasattr(block, way) for way in WAYS_TO_MERGE)
        if merges and left_alone.isdisjoint(block.modules()):
            holder = nn.ModuleDict({name: copy.deepcopy(block)})
            try:
                reparameterize_model(holder, inplace=True)
            except Exception:  # a block's own code, which may raise anything on a gated layer
                failed = True
            else:
                for parameter in block.parameters():  # timm makes layers as torch does by default
                    holder.to(parameter.device, parameter.dtype)
                    break
                setattr(module, name, holder[name])
                continue
        inside = _reparameterize(block, left_alone, f"{path}.")
        unmerged += [path] if failed else inside
    return unmerged


def _seal(model: nn.Module, path: str) -> None:
    """Put a trace of a block in its place, which computes the same and has no means to merge."""
    block = model.get_submodule(path)
    try:
        graph = NetworkTracer().trace(block)
    except Exception:  # stays what it is, as all of a network that cannot be traced
        return
    model.set_submodule(path, fx.GraphModule(block, graph, type(block).__name__))


def _shares_pointwise(child: Child[Any]) -> bool:
    if child.owns_kernel:
        return False
    return not isinstance(child, ChildConv2d) or set(child.kernel_size) == {1}


@torch.no_grad()
def _absorb_filter_attention(child: Child[Any], norm: _BatchNorm) -> None:
    """Move a child's a_f into the BatchNorm after it; the child then uses its parent's kernel."""
    if norm.running_mean is None or norm.running_var is None:
        return
    if isinstance(child.modulation, nn.Identity):  # fused before, or has none by its plan
        return
    statistics = norm.running_mean, norm.running_var, norm.eps
    filters = (1 + child.modulation.filter_attn).to(norm.running_var).unsqueeze(1)  # (O, 1): kernel
    shift = None if child.bias is None else child.bias.to(filters)
    weight, bias = fuse_conv_bn_weights(filters, shift, *statistics, norm.weight, norm.bias)
    child.bias = None  # not scaled by a_f, so it goes with the shift
    norm.weight, norm.bias = nn.Parameter(weight.flatten()), nn.Parameter(bias)
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)  # an eps of 0 would not train
    norm.affine = True
    child.modulation = nn.Identity()


def _without_norm(norm: nn.Module) -> nn.Module:
    """What is left of a norm once it is folded: the activation of timm's norm-and-act layers."""
    rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    rest = [module for module in rest if not isinstance(module, nn.Identity)]
    return rest[0] if len(rest) == 1 else nn.Sequential(*rest) if rest else nn.Identity()


def _followed_by_norm(model: nn.Module) -> dict[str, str]:
    """Map each layer whose output goes to a BatchNorm and nowhere else to that norm, by path.

    A layer whose weight the forward pass also reads past the layer is left out: in a network that
    was traced to make a feature extractor, so do the lines that once were its children.
    """
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return {}
    try:
        graph = NetworkTracer().trace(model)
    except Exception as error:  # a trace runs the network's own code, which may raise anything
        raise UserError(
            f"cannot fold the batch norms, because this network cannot be traced ({error}); "
            "timm.utils.reparameterize_model bakes its child kernels without folding"
        ) from error
    modules = dict(model.named_modules())
    pairs = {}
    for node in graph.nodes:
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, _BatchNorm) or not norm.track_running_stats:
            continue
        before = node.args[0]
        if before.op == "call_module" and len(before.users) == 1:
            layer = modules[before.target]
            if type(layer) in (nn.Conv2d, nn.Linear, Conv2dSame) or isinstance(layer, Child):
                pairs[str(before.target)] = str(node.target)
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    reads = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    return {
        a: b
        for a, b in pairs.items()
        if calls.count(a) == calls.count(b) == 1 and reads.isdisjoint((a, b))
    }
