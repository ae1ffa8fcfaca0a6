"""The other dynamic convolutions, for a fair comparison on the same networks."""

from kdna_zoo.peers.apply import CondConv, DYConv, KernelWarehouse, ODConv, Operator, make_dynamic
from kdna_zoo.peers.dynamic import Annealed, DynamicConv2d, PeerError
from kdna_zoo.peers.kernel_warehouse import KWConv2d, KWLinear, Warehouse, WarehouseConfig
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
    "KWConv2d",
    "KWLinear",
    "KernelWarehouse",
    "ODConv",
    "ODConv2d",
    "Operator",
    "PeerError",
    "Warehouse",
    "WarehouseConfig",
    "make_dynamic",
]
