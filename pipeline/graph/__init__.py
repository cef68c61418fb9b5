"""Region adjacency graph: superpixels to nodes and edges."""

from pipeline.graph.stage import STAGE

__all__ = ["STAGE"]
