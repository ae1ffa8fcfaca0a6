"""Whether a layer can share its kernel, and whether two layers can share one.

A child computes with its own stride, padding, dilation and bias, but with a kernel formed from its
parent's. So the two kernels must have one shape, and each number in them one meaning: as many
groups, one type of number, on one device. And a kernel must be its layer's own parameter, which a
weight norm, a parametrization or pruning makes of others in each forward pass.
"""

from collections import defaultdict

from torch import nn
from typing_extensions import TypeIs  # comes with torch

from kdna_zoo.errors import did_you_mean
from kdna_zoo.sharing.compat import has_hooks
from kdna_zoo.sharing.plan import PlanError, Share
from kdna_zoo.sharing.stages import Stages

Layer = nn.Conv2d | nn.Linear


def can_share(module: nn.Module) -> TypeIs[Layer]:
    """Tell whether a layer is a plain convolution or linear layer with a kernel of its own.

    A subclass may compute more, and so may a layer whose kernel is made of other parameters.
    """
    return type(module) in (nn.Conv2d, nn.Linear) and "weight" in dict(
        module.named_parameters(recurse=False)
    )


def layers_to_share(model: nn.Module) -> dict[str, Layer]:
    """Return the layers of a network that can share, by path, in its order.

    A layer that the network has under several paths, or whose kernel another layer has too, is
    left out: it shares already.
    """
    uses = _uses(model)
    return {
        path: module
        for path, module in model.named_modules()
        if can_share(module) and uses[id(module.weight)] == [path] and not has_hooks(module)
    }


class Fitting:
    """Checks the shares of a plan against a network.

    Args:
        model: The network, without children.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._uses = _uses(model)
        self._stages = Stages(model)

    def check(self, share: Share) -> tuple[Layer, Layer]:
        """Return the two layers that a share names.

        Raises:
            PlanError: If there is no such layer, or the two cannot share; the message says why.
        """
        layer, parent = self._find(share.child), self._find(share.parent)
        stage, its_stage = self._stages.of(share.child), self._stages.of(share.parent)
        if stage != its_stage:
            raise PlanError(
                f"{share}: the child is in stage {stage!r}, its parent in {its_stage!r}; "
                "share within one stage"
            )
        if has_hooks(layer):
            raise PlanError(
                f"{share}: hooks are registered on the child, which would be lost; register them "
                "after share_kernels"
            )
        uses = self._uses[id(layer.weight)]
        if len(uses) > 1:
            raise PlanError(
                f"{share}: {' and '.join(map(repr, uses))} have one kernel already, so none of "
                "them can become a child"
            )
        for what, own, its in (
            ("shape", tuple(layer.weight.shape), tuple(parent.weight.shape)),
            ("groups", *(getattr(module, "groups", 1) for module in (layer, parent))),
            ("type", layer.weight.dtype, parent.weight.dtype),
            ("device", str(layer.weight.device), str(parent.weight.device)),
        ):
            if own != its:
                raise PlanError(f"{share}: the kernels differ in {what}, child {own}, parent {its}")
        return layer, parent

    def _find(self, path: str) -> Layer:
        if path not in self._modules:
            hint = did_you_mean(path, self._modules, "and none with a name like it")
            raise PlanError(f"no layer {path!r} in this network; {hint}")
        module = self._modules[path]
        if can_share(module):
            return module
        if type(module) in (nn.Conv2d, nn.Linear):
            raise PlanError(
                f"the kernel of {path!r} is no parameter of its own but made of others, as by a "
                "weight norm or pruning; remove that first, or share another layer's"
            )
        able = [name for name, m in self._modules.items() if can_share(m)]
        raise PlanError(
            f"{path!r} is a {type(module).__name__}, and only a Conv2d or Linear can share its "
            f"kernel; {did_you_mean(path, able, 'and none with a name like it')}"
        )


def _uses(model: nn.Module) -> dict[int, list[str]]:
    """Map each parameter, by identity, to the paths of all modules that have it as theirs."""
    uses: dict[int, list[str]] = defaultdict(list)
    for path, module in model.named_modules(remove_duplicate=False):
        for parameter in {id(p): p for p in module.parameters(recurse=False)}:
            uses[parameter].append(path)
    return uses
