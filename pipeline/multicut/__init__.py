"""P(cut) of regular and lifted edges -> costs -> the neuron of every node."""

from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Limits, Problem, Solution
from pipeline.multicut.solvers import SOLVERS, solve
from pipeline.multicut.stage import STAGE

__all__ = ["SOLVERS", "STAGE", "Limits", "Problem", "Solution", "SolverParameters", "solve"]
