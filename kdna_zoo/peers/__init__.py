"""The other dynamic convolutions, for a fair comparison on the same networks."""

from kdna_zoo.peers.apply import CondConv, DYConv, ODConv, Operator, make_dynamic
from kdna_zoo.peers.dynamic import Annealed, DynamicConv2d, PeerError
from kdna_zoo.peers.mixture import CondConv2d, CondLinear, DYConv2d
from kdna_zoo.peers.odconv import ODConv2d

__all__ = [
    "Annealed",
    "CondConv",
    "CondConv2d",
    "CondLinear",
    "DYConv",
    "DYConv2d",
    "DynamicConv2d",
    "ODConv",
    "ODConv2d",
    "Operator",
    "PeerError",
    "make_dynamic",
]
