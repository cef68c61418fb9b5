"""Features of edges and nodes: appearance, regions, contact; one file a family."""

from pipeline.features.stage import STAGE

__all__ = ["STAGE"]
