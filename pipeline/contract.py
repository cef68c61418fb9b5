"""Frozen types that pass between stages, and between stages and the runner.

A stage is data: what it reads, what it writes, and pure functions. It sees arrays and
tables only; paths, zarr and dask belong to ``store`` and ``workflows``.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.corrections import Corrections

Triple = tuple[int, int, int]
Table = dict[str, NDArray[Any]]
"""Columns of one table: name -> array; all columns have the same number of rows."""
ROWS = int(os.environ.get("NEURON_PIPELINE_ROWS") or 1 << 16)
"""Rows of a table that one task writes; a file of a column holds a divisor of them. It changes
no result; tests set the variable, so that small tables make many tasks."""
KEY = "key"
"""Column of a kept table by which later steps find rows: uint64, ascending."""


@dataclass(frozen=True)
class VolumeInfo:
    """What every stage may know about the volume that is processed.

    Parameters
    ----------
    shape
        zyx, in voxels.
    voxel_size_nm
        zyx, in nanometres.
    dtype
        numpy dtype name of the raw data.
    """

    shape: Triple
    voxel_size_nm: tuple[float, float, float]
    dtype: str

    @property
    def flat_sections(self) -> bool:
        """Whether z is so coarse (3 times or more) that sections are treated one by one."""
        return self.anisotropy >= 3

    @property
    def anisotropy(self) -> float:
        """How many times coarser z is than the finer of y and x."""
        z, y, x = self.voxel_size_nm
        return z / min(y, x)


class StageConfig(BaseModel):
    """Base of every stage's parameters: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def resolved(self, volume: VolumeInfo) -> Self:
        """The same parameters with every ``auto`` decided for this volume."""
        return self


@dataclass(frozen=True)
class Box:
    """A half-open box of voxels, ``begin <= voxel < end``, zyx."""

    begin: Triple
    end: Triple

    @property
    def shape(self) -> Triple:
        """Number of voxels along z, y, x."""
        z, y, x = (e - b for b, e in zip(self.begin, self.end, strict=True))
        return z, y, x

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index into an array of the whole volume."""
        z, y, x = (slice(b, e) for b, e in zip(self.begin, self.end, strict=True))
        return z, y, x

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """The box as an index into an array that covers ``outer``."""
        z, y, x = (
            slice(b - o, e - o) for b, e, o in zip(self.begin, self.end, outer.begin, strict=True)
        )
        return z, y, x


@dataclass(frozen=True)
class Block:
    """One unit of work: what is read (with halo) and what is written, in a known volume.

    ::

        +--------------- read ---------------+
        |   halo                             |
        |      +-------- write -------+      |
        |      |                      |      |
        |      +----------------------+      |
        +------------------------------------+

    ``read`` is clipped at the volume's border, so the halo is missing there.
    """

    index: Triple
    write: Box
    read: Box
    volume_shape: Triple

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """Where ``write`` lies inside an array that covers ``read``."""
        return self.write.within(self.read)

    @property
    def name(self) -> str:
        """``z.y.x`` of the block in its grid; names its done mark and its part."""
        return ".".join(str(i) for i in self.index)


@dataclass(frozen=True)
class Halo:
    """Voxels needed below and above a block along z, y, x."""

    below: Triple = (0, 0, 0)
    above: Triple = (0, 0, 0)

    @classmethod
    def symmetric(cls, z: int, y: int, x: int) -> Halo:
        """The same halo on both sides."""
        return cls((z, y, x), (z, y, x))


@dataclass(frozen=True)
class ArraySpec:
    """A volume that a stage writes.

    Parameters
    ----------
    name
        Name between stages, e.g. ``superpixels``.
    dtype
        numpy dtype name.
    kind
        ``image`` (pyramid by mean) or ``labels`` (pyramid by mode).
    at_input
        Of labels: name of their copy on the finest grid of the input, which is written where a
        coarser level is segmented; empty: none.
    """

    name: str
    dtype: str
    kind: Literal["image", "labels"]
    at_input: str = ""


@dataclass(frozen=True)
class TableSpec:
    """A table (or some columns of it) that a stage writes.

    Parameters
    ----------
    name
        Table, e.g. ``edges``.
    columns
        Column name -> numpy dtype name.
    widths
        Column name -> numbers in a row, of columns with several; that of a column with
        names in the stage's ``attributes`` is the number of names.
    """

    name: str
    columns: Mapping[str, str]
    widths: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """Opened once per worker by the runner, never by a stage.

    Parameters
    ----------
    volume
        The volume being processed.
    models
        Name -> loaded model (network or forest), as the stage's ``opens`` gave it.
    threads
        Threads that one call of ``compute`` may use; results do not depend on it.
    corrections
        Of sections with defects, for stages that read the table ``sections``; ``None`` for
        the others, and while a run is planned.
    spare_bytes
        Memory that one call of ``compute`` may use beyond what was planned for its block;
        results do not depend on it.
    """

    volume: VolumeInfo
    models: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    corrections: Corrections | None = None
    spare_bytes: int = 0


class Rows(Mapping[str, NDArray[Any]], ABC):
    """A table that is read column by column: ``rows["uv"]`` is whole, ``read`` a range."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of rows."""

    @abstractmethod
    def read(self, column: str, begin: int, end: int) -> NDArray[Any]:
        """Rows ``begin .. end - 1`` of a column, clipped to those there are."""

    def heads(self, column: str) -> NDArray[Any]:
        """First row of every ``ROWS`` rows: where a sorted column is to be searched."""
        begins = range(0, self.count, ROWS)
        first = [self.read(column, begin, begin + 1) for begin in begins]
        return np.concatenate(first) if first else self.read(column, 0, 0)

    def __getitem__(self, column: str) -> NDArray[Any]:
        if column not in set(self):
            raise KeyError(column)
        return self.read(column, 0, self.count)


class Parts(Sequence[Mapping[str, Rows]], ABC):
    """What the tasks of an earlier pass or step of the same stage kept, in their order."""

    @abstractmethod
    def counts(self, table: str) -> NDArray[np.int64]:
        """(t,) rows that each task kept."""

    @abstractmethod
    def keys(self, table: str) -> NDArray[np.uint64]:
        """(t, 2) lowest and highest key of each task; lowest above highest where it kept none."""

    def between(self, table: str, low: int, high: int) -> Iterator[tuple[Rows, int, int]]:
        """Where rows with ``low <= key < high`` lie.

        Yields
        ------
        rows, begin, end
            Tables in the order of the tasks; of each the rows ``begin .. end - 1``, never none.
        """
        keys = self.keys(table)
        if high <= low:
            return
        first, last = np.uint64(low), np.uint64(high - 1)
        for task in np.flatnonzero((keys[:, 0] <= last) & (keys[:, 1] >= first)):
            rows = self[int(task)][table]
            begin, end = _first_at_least(rows, low), _first_at_least(rows, high)
            if begin < end:
                yield rows, begin, end


def _first_at_least(rows: Rows, key: int) -> int:
    """First row whose key is at least ``key``; few rows are read."""
    begin, end = 0, rows.count
    while begin < end:
        middle = (begin + end) // 2
        if int(rows.read(KEY, middle, middle + 1)[0]) < key:
            begin = middle + 1
        else:
            end = middle
    return begin


class Inputs(Mapping[str, Any], ABC):
    """What one task may read, fetched when it is asked for.

    An array's name gives it over ``block.read`` (in the pass over blocks only), a table's its
    ``Rows``; ``attributes`` gives {"table/column": attributes}, e.g. names of features.
    """

    @abstractmethod
    def parts(self, step: str) -> Parts:
        """What an earlier step of this stage kept; ``blocks`` is the pass over blocks."""


BLOCKS = "blocks"
"""Name of the pass over blocks among the steps of a stage."""

Outputs = dict[str, Any]
"""Array name -> array covering ``block.write``; table name -> Table."""


def no_halo(config: Any, resources: Resources) -> Halo:
    """The halo of a stage whose voxels depend on nothing around them."""
    return Halo()


@dataclass(frozen=True)
class Step:
    """Independent tasks over tables; they begin when the step before is done.

    A task keeps tables for later steps of its stage, or writes rows of final tables.

    Parameters
    ----------
    name
        Unique within the stage.
    compute
        ``(task, inputs, config, resources) -> {table: Table}``; pure, and the same whatever
        order tasks run in. It reads ranges, so that its memory does not grow with the volume.
    tasks
        Of a step that keeps: ``(inputs, config, resources) -> number of tasks``, known from
        little, for it runs where the run is started.
    rows
        Of a step that writes, in place of ``tasks``: number of rows of its tables. Task i
        writes rows ``i * ROWS .. (i + 1) * ROWS - 1``; no rows are one task.
    writes
        Final tables, or columns of them.
    memory
        ``(inputs, config, resources) -> bytes`` that the largest task needs, about, beside
        the libraries; where it is not given, 256 MiB.
    smaller_by
        Parameter whose lower values make tasks smaller, e.g. ``lifted.superpixels_per_cell``.
    """

    name: str
    compute: Callable[[int, Inputs, Any, Resources], Outputs]
    tasks: Callable[[Inputs, Any, Resources], int] | None = None
    rows: Callable[[Inputs, Any, Resources], int] | None = None
    writes: tuple[TableSpec, ...] = ()
    memory: Callable[[Inputs, Any, Resources], int] | None = None
    smaller_by: str = ""

    def __post_init__(self) -> None:
        if (self.tasks is None) == (self.rows is None) or (self.rows is None) == bool(self.writes):
            raise AssertionError(f"step {self.name} keeps (tasks) or writes (rows, writes)")


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    ``before`` (steps), then the pass over blocks (``compute``), then ``after`` (steps).

    Parameters
    ----------
    name
        Also the key of its section in the configuration.
    version
        Raised whenever results change, so that old outputs count as stale.
    config
        Model of its parameters.
    reads
        Names of arrays and tables; order does not matter.
    arrays
        Volumes that the pass over blocks writes.
    compute
        ``(block, inputs, config, resources) -> outputs``, arrays to write and tables to keep
        for the steps after it; pure. ``None``: no pass over blocks.
    halo
        ``(config, resources) -> Halo``.
    before, after
        Steps over tables.
    opens
        ``(config, device) -> models`` for ``Resources``; called once a worker.
    files
        ``config -> paths`` of the model files it depends on (they enter the fingerprint).
    attributes
        ``(config, resources) -> {"table/column": JSON attributes}``, e.g. feature names and
        units; readers of the table find them in ``inputs["attributes"]``.
    on_device
        Whether it runs a network, so that workers with a GPU should have it.
    """

    name: str
    version: int
    config: type[StageConfig]
    reads: tuple[str, ...]
    arrays: tuple[ArraySpec, ...] = ()
    compute: Callable[[Block, Inputs, Any, Resources], Outputs] | None = None
    halo: Callable[[Any, Resources], Halo] = no_halo
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    opens: Callable[[Any, str], Mapping[str, Any]] | None = None
    files: Callable[[Any], Sequence[str]] | None = None
    attributes: Callable[[Any, Resources], Mapping[str, Mapping[str, Any]]] | None = None
    on_device: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """Before and after the blocks, in order."""
        return (*self.before, *self.after)

    @property
    def tables(self) -> tuple[TableSpec, ...]:
        """What its steps write."""
        return tuple(spec for step in self.steps for spec in step.writes)

    @property
    def writes(self) -> tuple[ArraySpec | TableSpec, ...]:
        """All that it leaves for later stages."""
        return (*self.arrays, *self.tables)


UINT8_MAX = int(np.iinfo(np.uint8).max)
