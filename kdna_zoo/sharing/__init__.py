"""Who shares with whom: plans, presets for each family, applying and auditing them."""

from kdna_zoo.sharing.ablation import CONTROLS, ablate
from kdna_zoo.sharing.apply import share_kernels
from kdna_zoo.sharing.audit import LayerParameters, audit, plan_of
from kdna_zoo.sharing.auto import auto_plan
from kdna_zoo.sharing.deploy import fuse
from kdna_zoo.sharing.plan import PlanError, Share, SharingPlan
from kdna_zoo.sharing.presets import alternate_blocks_plan, basic_block_plan, last_block_plan
from kdna_zoo.sharing.stages import stage_of

__all__ = [
    "CONTROLS",
    "LayerParameters",
    "PlanError",
    "Share",
    "SharingPlan",
    "ablate",
    "alternate_blocks_plan",
    "audit",
    "auto_plan",
    "basic_block_plan",
    "fuse",
    "last_block_plan",
    "plan_of",
    "share_kernels",
    "stage_of",
]
