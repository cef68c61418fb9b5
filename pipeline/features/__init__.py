"""Features of edges and nodes: appearance, regions, shape, topology; one file a family."""

from pipeline.features.stage import STAGE

__all__ = ["STAGE"]
