"""What is done about the sections: the rows of the table ``sections``."""

from __future__ import annotations

import numpy as np

from pipeline.contract import KEY, Inputs, Outputs, Resources, Table, TableSpec
from pipeline.corrections import SECTIONS, Corrections
from pipeline.normalisation import IntensityConfig, percentiles_of_counts
from pipeline.sections.config import SectionsConfig
from pipeline.sections.evidence import COUNTS, PADDING, QUARTERS, SUMS, TISSUE
from pipeline.sections.greys import STEPS, Greys
from pipeline.sections.intensities import contrast_of, drift_of
from pipeline.sections.slips import slips_of
from pipeline.sections.stack import Flags, Stack, pooled
from pipeline.sections.states import sources, states_of, usable
from pipeline.tables import row_range

DECISIONS = "decisions"
"""Name of the step."""
BYTES_PER_SECTION = 1024
"""Of evidence and decisions together; measured 640."""

TABLE = TableSpec(
    SECTIONS,
    {
        "low": "float64",
        "high": "float64",
        "source": "int64",
        "place": "int64",
        "state": "uint8",
        "slip": "int64",
        "drift": "bool",
        "mean": "float64",
        "spread": "float64",
        "tissue": "float64",
        "commonest": "float64",
        "saturated": "float64",
        "detail": "float64",
        "fine": "float64",
        "dark": "float64",
        "alike": "float64",
        "elsewhere": "float64",
        "straight": "float64",
        "fine_alike": "float64",
        "shift": "float64",
    },
    {"place": 2, "slip": 2, "shift": 2},
)
"""A row a section: the columns of ``Corrections``, and

``state``
    ``states.State``.
``slip``
    Displacement against the nearest usable section below, in voxels, whether it is followed or
    not; 0 = none.
``drift``
    Whether it has a grey range of its own.
``mean``, ``spread``
    Grey value, and interquartile range of the grey values of tissue (NaN without tissue).
``tissue``, ``commonest``, ``saturated``
    Shares of its voxels: not padding; of the commonest grey value; of its
    darkest or brightest one.
``detail``, ``fine``
    Root mean square of what differs from the surroundings, of bins and of voxels, in shares of
    the volume's grey range.
``dark``
    Share of dark ridges among all ridges; NaN without any.
``alike``, ``elsewhere``, ``straight``, ``fine_alike``, ``shift``
    Correlation with the section right below at the best shift, at other shifts, and without a
    shift; of voxels without a shift; and the best shift in voxels. NaN where there is none.
"""


def sections_count(inputs: Inputs, config: SectionsConfig, resources: Resources) -> int:
    """Rows of the table."""
    return resources.volume.shape[0]


def one_task(inputs: Inputs, config: SectionsConfig, resources: Resources) -> int:
    """Sections are judged by the whole stack."""
    return 1


def memory_of_decisions(inputs: Inputs, config: SectionsConfig, resources: Resources) -> int:
    """Bytes of the one task: some rows a section."""
    return BYTES_PER_SECTION * resources.volume.shape[0]


def decide(task: int, inputs: Inputs, config: SectionsConfig, resources: Resources) -> Outputs:
    """All rows of the table ``sections``, with ``key``, the section."""
    config = config.resolved(resources.volume)
    stack = Stack.of(inputs.parts(SUMS), config, resources)
    state = states_of(stack, config)
    good = usable(state)
    drift = drift_of(stack, good, config)
    low, high = _grey_range(inputs, stack, good & ~drift.found, resources)
    ends = low, high
    if config.contrast == "bright_membranes" or (
        config.contrast == "detect" and contrast_of(stack.dark, good) == "bright_membranes"
    ):
        ends = high, low
    slips = slips_of(stack, good, config)
    follows = config.slips == "follow" and resources.volume.flat_sections
    corrections = Corrections(
        drift.offset + drift.gain * ends[0],
        drift.offset + drift.gain * ends[1],
        sources(state, config),
        slips.place if follows else np.zeros_like(slips.place),
    )
    found = {"state": state, "slip": slips.slip, "drift": drift.found, **_evidence(stack)}
    key = np.arange(stack.depth, dtype=np.uint64)
    return {SECTIONS: {KEY: key, **corrections.table(), **found}}


def write_sections(
    task: int, inputs: Inputs, config: SectionsConfig, resources: Resources
) -> Outputs:
    """A range of the table ``sections``."""
    begin, end = row_range(task, resources.volume.shape[0])
    decided = inputs.parts(DECISIONS)[0][SECTIONS]
    return {SECTIONS: {name: decided.read(name, begin, end) for name in TABLE.columns}}


def _grey_range(
    inputs: Inputs, stack: Stack, chosen: Flags, resources: Resources
) -> tuple[float, float]:
    """Grey values that become 0 and 1: the volume's, but without padding and other sections."""
    intensity, dtype = inputs["intensity"], resources.volume.dtype
    padding = bool(chosen.any()) and 1 - float(stack.tissue[chosen].mean()) > PADDING
    if not chosen.any() or (chosen.all() and not padding):
        return float(intensity["low"][0]), float(intensity["high"][0])
    table = TISSUE if padding else COUNTS
    counts = Greys.of(intensity, dtype).counts(pooled(inputs.parts(SUMS), table, chosen))
    if np.count_nonzero(counts) < 2:  # nothing but padding and one grey value
        return float(intensity["low"][0]), float(intensity["high"][0])
    percentiles = {
        f"{end}_percentile": inputs["attributes"][f"intensity/{end}"]["percentile"]
        for end in ("low", "high")
    }
    return percentiles_of_counts(counts, dtype, IntensityConfig(**percentiles))


def _evidence(stack: Stack) -> Table:
    """What people may want to see."""
    same = ("mean", "tissue", "commonest", "saturated", "dark", "fine_alike")
    return {
        **{name: getattr(stack, name) for name in same},
        "spread": stack.quantiles[:, QUARTERS[1]] - stack.quantiles[:, QUARTERS[0]],
        "detail": stack.detail / STEPS,
        "fine": stack.fine / STEPS,
        "alike": stack.alike[:, 0],
        "elsewhere": stack.second[:, 0],
        "straight": stack.straight[:, 0],
        "shift": stack.shift[:, 0],
    }
