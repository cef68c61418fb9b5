"""First forest: edge features -> P(cut) of every edge; and the labels it learns from."""

from pipeline.edges.stage import STAGE

__all__ = ["STAGE"]
