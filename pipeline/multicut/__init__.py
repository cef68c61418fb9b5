"""P(cut) of regular and lifted edges -> costs -> the neuron of every node."""

from pipeline.multicut.stage import STAGE

__all__ = ["STAGE"]
