"""Similarity of layers (CKA), and the sharing plan that it suggests."""

from kdna_zoo.analysis.cka.cka import Cka, measure_cka
from kdna_zoo.analysis.cka.suggestion import suggest_plan

__all__ = ["Cka", "measure_cka", "suggest_plan"]
