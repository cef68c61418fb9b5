"""Foreground: which voxels are tissue, by a mask volume and by the grey value of padding."""

from pipeline.foreground.stage import STAGE

__all__ = ["STAGE"]
