"""The controls of the ablation: a published plan with one thing taken away or changed.

The KernelDNA ResNets are deeper than their namesakes, and every child has a channel attention like
that of squeeze-and-excitation, which helps any network. What sharing and each half of the adapter
(arXiv 2503.23379) contribute is seen only beside networks that have the rest:

====  ==================  ===========================================================
(a)   ``own``             equal depth, a kernel of its own in each layer, no adapter
(b)   ``own_channel``     the same with channel attention
(c)   ``shared``          shared kernels, no adapter
(d)   ``shared_channel``  shared kernels, channel attention only
(e)   ``shared_static``   shared kernels, static modulation only
(f)   ``full``            shared kernels, both: the published network
(g)   ``parents_first``   the same with the children after their parent, not before
====  ==================  ===========================================================
"""

from collections.abc import Callable
from dataclasses import replace

from kdna_zoo.sharing.plan import PlanError, SharingPlan

_CONTROLS: dict[str, Callable[[SharingPlan], SharingPlan]] = {
    "own": lambda plan: replace(plan, own_kernels=True, adapter="none"),
    "own_channel": lambda plan: replace(plan, own_kernels=True, adapter="channel"),
    "shared": lambda plan: replace(plan, adapter="none"),
    "shared_channel": lambda plan: replace(plan, adapter="channel"),
    "shared_static": lambda plan: replace(plan, adapter="static"),
    "full": lambda plan: plan,
    "parents_first": SharingPlan.parents_first,
}
CONTROLS = tuple(_CONTROLS)


def ablate(plan: SharingPlan, control: str) -> SharingPlan:
    """Return the plan of a control.

    Args:
        plan: A published plan, or any with full adapters.
        control: One of `CONTROLS`, see above.

    Raises:
        PlanError: If there is no such control.
    """
    if control not in CONTROLS:
        raise PlanError(f"unknown ablation {control!r}; choose one of {', '.join(CONTROLS)}")
    return _CONTROLS[control](plan)
