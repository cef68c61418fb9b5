"""Defects of whole sections: found in numbers that add up, judged by the stack.

1. Every block measures its part of every section (``measuring``): histograms, dark and bright
   ridges, and how it resembles the sections below at every shift.
2. ``sums``: these are added up, and become the evidence of the sections (``evidence``).
3. ``decisions``: what is beyond natural variation of this stack is a defect: states
   (``states``), grey ranges (``intensities``), slips (``slips``).
4. ``sections``: the table is written; a stack without defects has the volume's grey range, itself
   as source and no displacement in every row.
"""

from __future__ import annotations

from pipeline.contract import Stage, Step
from pipeline.sections.config import SectionsConfig, halo
from pipeline.sections.decisions import (
    DECISIONS,
    TABLE,
    decide,
    memory_of_decisions,
    one_task,
    sections_count,
    write_sections,
)
from pipeline.sections.evidence import SUMS, groups, sum_sections
from pipeline.sections.measuring import measure_sections

STAGE = Stage(
    name="sections",
    version=1,
    config=SectionsConfig,
    reads=("raw", "intensity"),
    compute=measure_sections,
    halo=halo,
    after=(
        Step(SUMS, sum_sections, tasks=groups),
        Step(DECISIONS, decide, tasks=one_task, memory=memory_of_decisions),
        Step(TABLE.name, write_sections, rows=sections_count, writes=(TABLE,)),
    ),
)
