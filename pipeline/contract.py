"""Frozen types that pass between stages, and between stages and the runner.

A stage is data: what it reads, what it writes, and pure functions. It sees arrays and
tables only; paths, zarr and dask belong to ``store`` and ``workflows``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Triple = tuple[int, int, int]
Table = dict[str, NDArray[Any]]
"""Columns of one table: name -> array; all columns have the same number of rows."""


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
    """

    name: str
    dtype: str
    kind: Literal["image", "labels"]


@dataclass(frozen=True)
class TableSpec:
    """A table (or some columns of it) that a stage writes.

    Parameters
    ----------
    name
        Table, e.g. ``edges``.
    columns
        Column name -> numpy dtype name.
    """

    name: str
    columns: Mapping[str, str]


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
    """

    volume: VolumeInfo
    models: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1


Inputs = Mapping[str, Any]
"""Array name -> array covering ``block.read``; table name -> Table (whole);
``attributes`` -> {"table/column": attributes}, e.g. the names of feature columns."""
Outputs = dict[str, Any]
"""Array name -> array covering ``block.write``; table name -> Table."""


def no_halo(config: Any, resources: Resources) -> Halo:
    """The halo of a stage whose voxels depend on nothing around them."""
    return Halo()


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

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
    writes
        What it produces.
    compute
        ``(block, inputs, config, resources) -> outputs``; pure.
    halo
        ``(config, resources) -> Halo``.
    merge
        Table stages: associative union of the outputs of blocks,
        ``(parts, tables, config, resources) -> outputs``, where ``tables`` are the whole
        tables among ``reads``. ``None``: the outputs of ``compute`` are final.
    scope
        ``blocks``: one call a block. ``volume``: one call with whole tables, no arrays.
    opens
        ``(config, device) -> models`` for ``Resources``; called once a worker.
    files
        ``config -> paths`` of the model files it depends on (they enter the fingerprint).
    attributes
        ``(config, resources) -> {"table/column": JSON attributes}``, e.g. feature names and
        units; readers of the table find them in ``inputs["attributes"]``.
    """

    name: str
    version: int
    config: type[StageConfig]
    reads: tuple[str, ...]
    writes: tuple[ArraySpec | TableSpec, ...]
    compute: Callable[[Block, Inputs, Any, Resources], Outputs]
    halo: Callable[[Any, Resources], Halo] = no_halo
    merge: Callable[[Sequence[Outputs], Mapping[str, Table], Any, Resources], Outputs] | None = None
    scope: Literal["blocks", "volume"] = "blocks"
    opens: Callable[[Any, str], Mapping[str, Any]] | None = None
    files: Callable[[Any], Sequence[str]] | None = None
    attributes: Callable[[Any, Resources], Mapping[str, Mapping[str, Any]]] | None = None

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """The volumes among ``writes``."""
        return tuple(w for w in self.writes if isinstance(w, ArraySpec))

    @property
    def tables(self) -> tuple[TableSpec, ...]:
        """The tables among ``writes``."""
        return tuple(w for w in self.writes if isinstance(w, TableSpec))


UINT8_MAX = int(np.iinfo(np.uint8).max)
