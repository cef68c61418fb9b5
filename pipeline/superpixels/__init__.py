"""Distance-transform watershed: boundary map to superpixels."""

from pipeline.superpixels.stage import STAGE

__all__ = ["STAGE"]
