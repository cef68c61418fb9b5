"""Lifted edges: pairs of superpixels some steps apart, their features and P(cut)."""

from pipeline.lifted.stage import STAGE

__all__ = ["STAGE"]
