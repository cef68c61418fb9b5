"""Sections: which of them are defective, and what is done about it."""

from pipeline.sections.stage import STAGE

__all__ = ["STAGE"]
