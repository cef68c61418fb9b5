"""Node labels -> voxels: superpixels become neurons, small neurons become background."""

from pipeline.labels.stage import STAGE

__all__ = ["STAGE"]
