"""Data modules on Hugging Face `datasets`, with timm's transforms; knows no model."""

from kdna_zoo.data.module import ImageData

__all__ = ["ImageData"]
