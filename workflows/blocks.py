"""Choice of the write block: made of prediction tiles, and small enough for the memory.

What a pass over blocks needs is estimated from the voxels that a block reads, halo included,
and those that it writes. The numbers were measured as growth of the resident memory of a
process that computes one block in the middle of a volume, of 0.3 to 40 million voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.boundaries.resampling import UNCHANGED, Steps
from pipeline.contract import Halo, Triple, VolumeInfo
from pipeline.errors import ConfigError, ResourceError
from workflows.quantities import size


@dataclass(frozen=True)
class Need:
    """Memory of a block of one stage.

    Parameters
    ----------
    read
        Bytes for each voxel that is read, besides those of the grey values.
    write
        Bytes for each voxel that is written.
    grey
        How many copies of the grey values it holds.
    """

    read: int
    write: int
    grey: int = 0


NEEDS: Mapping[str, Need] = {
    "intensity": Need(read=18, write=0, grey=2),
    "sections": Need(read=18, write=0, grey=1),
    "foreground": Need(read=5, write=4, grey=2),
    "boundaries": Need(read=1, write=14, grey=1),
    "superpixels": Need(read=38, write=8),
    "graph": Need(read=26, write=0),
    "features": Need(read=56, write=0, grey=1),
    "labels": Need(read=18, write=8),
}
"""Measured, rounded up: intensity 9 (uint8) to 25 (float32) bytes a voxel read, sections 14
in volumes of one section, else less than 1, foreground 3 to 7, superpixels 18 in 2D, 25 to 37
in 3D, graph 18, features 41 to 54 with two threads, labels 18 where superpixels are few
voxels wide, else 10."""
NETWORK_BYTES = 720
"""Of an RC-SPCNet in its small shape for each pixel of a section with its halo, as
``pipeline.boundaries.footprint`` counts it; measured 524 to 638. The shipped one needs less."""
OVERLAPPED = 2
"""Blocks of a GPU's worker: one is read or written while the network sees the other."""
RESAMPLED_BYTES = 16
"""For each voxel of a section with its halo, where its pixels are not voxels: the section, and
two parts of it that are narrower."""
BASE_BYTES = 480 << 20
"""A worker with its libraries, the network and compiled functions: measured 320 to 345 MiB
after loading, and up to 70 MiB when the first block compiles; 60 MiB are dask's."""
SECTIONS = 32
ROUND = 32


@dataclass(frozen=True)
class BlockMemory:
    """Memory of the passes over the blocks of a volume.

    Parameters
    ----------
    volume
        Its shape decides how far a block, and what is read around it, is clipped.
    tile
        Prediction tile; blocks are multiples of it.
    halos
        Of every stage: in 3D most of what a block reads.
    batch
        Sections that are predicted at a time.
    steps
        Voxels that a pixel of the network covers along z, y, x.
    context_sections
        Sections that the network sees on each side of the predicted one.
    network_bytes
        Of the network for a pixel, with all sections that it sees.
    on_gpu
        Whether its memory is that of a GPU; blocks then overlap.
    """

    volume: VolumeInfo
    tile: Triple
    halos: Mapping[str, Halo]
    batch: int = 1
    steps: Steps = UNCHANGED
    context_sections: int = 0
    network_bytes: int = NETWORK_BYTES
    on_gpu: bool = False

    def needed(self, shape: Triple) -> int:
        """Bytes that a worker needs, about, for a block of the stage that needs most."""
        return BASE_BYTES + max(self.of_stage(stage, shape) for stage in NEEDS)

    def of_stage(self, stage: str, shape: Triple) -> int:
        """Bytes of one stage's block, beside the libraries; 0 if it has no blocks."""
        need = NEEDS.get(stage)
        if need is None:
            return 0
        each = need.read + need.grey * np.dtype(self.volume.dtype).itemsize
        written = math.prod(_reach(shape, Halo(), self.volume.shape))
        needed = each * self.read_voxels(stage, shape) + need.write * written
        if stage != "boundaries":
            return needed
        return OVERLAPPED * needed if self.on_gpu else needed + self.batch * self._section_bytes

    def read_voxels(self, stage: str, shape: Triple) -> int:
        """Voxels that a stage reads for a block in the middle of the volume."""
        return math.prod(_reach(shape, self.halos.get(stage, Halo()), self.volume.shape))

    @property
    def _section_bytes(self) -> int:
        """Of the network for a section, and of those it sees where they are resampled for it."""
        needed = self.network_bytes * self.section_pixels
        if self.steps != UNCHANGED:
            resampled = replace(self, steps=UNCHANGED).section_pixels
            needed += RESAMPLED_BYTES * resampled * (2 * self.context_sections + 1)
        return needed

    @property
    def section_pixels(self) -> int:
        """Pixels of the largest section that the network sees at a time, with its halo."""
        return max(height * width for _, height, width in self.sections)

    @property
    def sections(self) -> list[Triple]:
        """(number, height, width) of the sections of a tile, in pixels of the network.

        They are taken along z, and along y and x too where the halo reaches along z further
        than to the sections that the network sees.
        """
        halo = self.halos.get("boundaries", Halo())
        axes = (0, 1, 2) if halo.above[0] > self.context_sections else (0,)
        reach = _reach(self.tile, halo, self.volume.shape)
        length = _reach(self.tile, Halo(), self.volume.shape)
        found = []
        for axis in axes:
            seen = [math.ceil(n / step) for n, step in zip(reach, self.steps, strict=True)]
            height, width = (n for k, n in enumerate(seen) if k != axis)
            found.append((length[axis], height, width))
        return found


def choose_block_shape(memory: BlockMemory, memory_bytes: int | None = None) -> Triple:
    """Write block, zyx, for a volume.

    Parameters
    ----------
    memory
        Of its passes.
    memory_bytes
        What one worker may use; ``None``: blocks of some 8 million voxels.

    Raises
    ------
    ResourceError
        If not even the smallest block fits; names a tile that would, if there is one.
    """
    shape = _largest_block(memory)
    if memory_bytes is None:
        return shape
    while memory.tile[0] == 1 and shape[0] > 1 and memory.needed(shape) > memory_bytes:
        shape = (max(1, shape[0] // 2), shape[1], shape[2])
    needed = memory.needed(shape)
    if needed > memory_bytes:
        raise ResourceError(
            f"blocks of {shape} voxels need about {size(needed)}, more than the "
            f"{size(memory_bytes)} of --memory; raise it{_other_tile(memory, memory_bytes)}"
        )
    return shape


def check_tile(tile: Triple, block_shape: Triple, volume_shape: Triple) -> None:
    """Check that blocks are made of whole prediction tiles.

    Raises
    ------
    ConfigError
        If block borders are not tile borders.
    """
    for side, block, length in zip(tile, block_shape, volume_shape, strict=True):
        if block < length and block % side:
            raise ConfigError(
                f"boundaries.tile = {list(tile)} does not divide the output's blocks of "
                f"{list(block_shape)} voxels; give a tile that does, or another --output, or "
                "--overwrite"
            )


def _largest_block(memory: BlockMemory) -> Triple:
    """No axis longer than the volume needs; y and x stay multiples of 32 for the chunks."""
    tile, volume = memory.tile, memory.volume.shape
    depth = SECTIONS if tile[0] == 1 else tile[0]
    y, x = (min(b, -(-n // ROUND) * ROUND) for b, n in zip(tile[1:], volume[1:], strict=True))
    return min(depth, volume[0]), y, x


def _other_tile(memory: BlockMemory, memory_bytes: int) -> str:
    """Advice: the largest tile of halved sides whose blocks fit."""
    for tile in _halved(memory.tile):
        smaller = replace(memory, tile=tile)
        shape = _largest_block(smaller)
        if smaller.needed((1, *shape[1:]) if tile[0] == 1 else shape) <= memory_bytes:
            sides = ",".join(map(str, tile))
            return f", or predict smaller tiles: --set boundaries.tile='[{sides}]'"
    return ""


def _halved(tile: Triple) -> Iterator[Triple]:
    """Tiles with their longest sides halved, again and again, down to 32 voxels."""
    while max(tile) > ROUND:
        longest = max(range(3), key=lambda axis: (tile[axis], axis))
        z, y, x = (n // 2 if axis == longest else n for axis, n in enumerate(tile))
        tile = (z, y, x)
        yield tile


def _reach(shape: Triple, halo: Halo, volume: Triple) -> Triple:
    """Voxels that a block in the middle of the volume reads along z, y, x."""
    reach = zip(shape, halo.below, halo.above, volume, strict=True)
    z, y, x = (min(length + below + above, n) for length, below, above, n in reach)
    return z, y, x
