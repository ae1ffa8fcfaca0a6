"""What sharing has to ask of torch's private parts, each in one place.

`tests/sharing/test_compat.py` fails on the day torch has it in public, or has changed it.
"""

from torch import nn


def has_hooks(module: nn.Module) -> bool:
    """Tell whether something is called before or after a layer, such as what reads its output.

    A module takes hooks in public, and does not say which it has.
    """
    return bool(module._forward_hooks or module._forward_pre_hooks)
