"""Synthetic electron microscopy stacks of packed neurons, with their dense ground truth."""

from __future__ import annotations

from pipeline.synthesis.stack import SynthesisConfig, Synthetic, synthesise

__all__ = ["SynthesisConfig", "Synthetic", "synthesise"]
