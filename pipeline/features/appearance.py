"""Families ``raw`` and ``boundary``: how an input and its filter responses look along an edge.

The values are ``statistics.summary`` of one sample per voxel face.
"""

from __future__ import annotations

from pipeline.features.channels import channel_names
from pipeline.features.columns import Column
from pipeline.features.config import FeaturesConfig
from pipeline.features.statistics import SUMMARY

SHAPE = ("skewness", "kurtosis")


def unit(statistic: str) -> str:
    """A fraction of the channel's range, or ``1`` for the shape of a distribution."""
    return "1" if statistic in SHAPE else "range"


def columns(config: FeaturesConfig, source: str) -> list[Column]:
    """``channel/statistic`` for every statistic of every channel made of ``source``."""
    return [
        Column(f"{channel}/{statistic}", unit(statistic), f"{statistic} over the edge's faces")
        for channel in channel_names(config)
        if channel.split("_")[0] == source
        for statistic in SUMMARY
    ]
