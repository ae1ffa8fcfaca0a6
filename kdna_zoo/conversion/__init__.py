"""A trained network becomes a KernelDNA network that computes nearly the same."""

from kdna_zoo.conversion.converting import convert
from kdna_zoo.conversion.growing import Grown, grow
from kdna_zoo.conversion.report import ConversionReport, LayerReport, StepReport
from kdna_zoo.conversion.suggestion import suggest_plan

__all__ = [
    "ConversionReport",
    "Grown",
    "LayerReport",
    "StepReport",
    "convert",
    "grow",
    "suggest_plan",
]
