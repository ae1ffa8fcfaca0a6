"""A child's adapter by fused Triton kernels on an NVIDIA GPU: the same equations, fewer launches.

The plain form is the definition, in `channel_attention.py` and `static_modulation.py`. In a
training step it launches some forty small kernels for each child, and launching them takes longer
than computing them. `attend` and `modulate` do the same in fourteen at most, and in three for
inference; they return None wherever the plain form has to do it, so that nothing is lost: on a CPU
or an older GPU, under ``torch.compile`` (which fuses the plain form itself), in an export or a
trace, under a transform or a mode that is to see each operator, with parts that are not the usual
ones or have hooks, or after a kernel failed.

They are autograd functions around the kernels and not custom operators: nothing that traces ever
sees them, and a custom operator costs several times its launch on the CPU, which is what is short.
"""

from kdna_zoo.layers.kernels.attention import attend
from kdna_zoo.layers.kernels.choice import plain_form
from kdna_zoo.layers.kernels.modulation import modulate

__all__ = ["attend", "modulate", "plain_form"]
