"""Family: how raw data, boundary map and their filter responses look along an edge."""

from __future__ import annotations

from pipeline.features.channels import channel_names
from pipeline.features.config import FeaturesConfig
from pipeline.features.statistics import SUMMARY

SHAPE = ("skewness", "kurtosis")


def names(config: FeaturesConfig) -> list[str]:
    """``channel/statistic`` of every column; the values are ``statistics.summary``."""
    return [f"{channel}/{column}" for channel in channel_names(config) for column in SUMMARY]


def units(config: FeaturesConfig) -> list[str]:
    """A fraction of the channel's range, or ``1`` for the shape of a distribution."""
    return ["1" if n.rsplit("/", 1)[1] in SHAPE else "range" for n in names(config)]
