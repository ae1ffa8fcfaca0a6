"""What the layers have to ask of torch's private parts, each in one place.

`tests/layers/test_compat.py` fails on the day torch has it in public, or has changed it.
"""

import torch
from torch.autograd import forward_ad


def is_transformed_or_watched() -> bool:
    """Whether something takes each operator in hand, which is to see those of the plain form.

    A transform of ``torch.func``, forward-mode differentiation, or a mode that traces or counts the
    operators (``make_fx``, fake tensors, ``FlopCounterMode``). Torch does not tell it in public.
    """
    return bool(
        torch._C._len_torch_dispatch_stack()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )
