"""Choice of the write block: made of prediction tiles, and small enough for the memory."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.contract import Halo, Triple, VolumeInfo
from pipeline.errors import ConfigError, ResourceError

BYTES_PER_VOXEL = {"boundaries": 12, "superpixels": 40, "features": 40}
"""Working memory of the hungriest stages for each voxel that a block reads, halo included.
Measured: superpixels 21 in 2D, up to 39 in 3D; features 37 in 2D, 32 in 3D with two threads;
counted: boundaries."""
BASE_BYTES = 500 << 20
"""A worker with its libraries and the network."""
SECTIONS = 32
ROUND = 32


def choose_block_shape(
    volume: VolumeInfo, tile: Triple, halos: Mapping[str, Halo], memory_bytes: int | None = None
) -> Triple:
    """Write block, zyx, for a volume.

    Parameters
    ----------
    volume
        Its shape decides how far a block, and what is read around it, is clipped.
    tile
        Prediction tile; blocks are multiples of it.
    halos
        Of every stage: in 3D most of what a block reads.
    memory_bytes
        What one worker may use; ``None``: blocks of some 8 million voxels.

    Raises
    ------
    ResourceError
        If not even the smallest block fits.
    """
    depth = SECTIONS if tile[0] == 1 else tile[0]
    shape = _clip((depth, tile[1], tile[2]), volume.shape)
    if memory_bytes is None:
        return shape
    while tile[0] == 1 and shape[0] > 1 and needed_bytes(shape, volume, halos) > memory_bytes:
        shape = (max(1, shape[0] // 2), shape[1], shape[2])
    needed = needed_bytes(shape, volume, halos)
    if needed > memory_bytes:
        raise ResourceError(
            f"blocks of {shape} voxels need about {needed / 2**30:.1f} GiB, more than the "
            f"{memory_bytes / 2**30:.1f} GiB of --memory; raise it, or give a smaller "
            "--set boundaries.tile='[z, y, x]'"
        )
    return shape


def needed_bytes(shape: Triple, volume: VolumeInfo, halos: Mapping[str, Halo]) -> int:
    """What a worker needs, about, for a block of the stage that needs most; see above."""
    return BASE_BYTES + max(
        bytes_each * _read_voxels(shape, halos[stage], volume.shape)
        for stage, bytes_each in BYTES_PER_VOXEL.items()
    )


def check_tile(tile: Triple, block_shape: Triple, volume_shape: Triple) -> None:
    """Check that blocks are made of whole prediction tiles.

    Raises
    ------
    ConfigError
        If block borders are not tile borders.
    """
    for size, block, length in zip(tile, block_shape, volume_shape, strict=True):
        if block < length and block % size:
            raise ConfigError(
                f"boundaries.tile = {list(tile)} does not divide the output's blocks of "
                f"{list(block_shape)} voxels; give a tile that does, or another --output, or "
                "--overwrite"
            )


def _read_voxels(shape: Triple, halo: Halo, volume: Triple) -> int:
    """Voxels that a block in the middle of the volume reads."""
    reach = zip(shape, halo.below, halo.above, volume, strict=True)
    z, y, x = (min(size + below + above, n) for size, below, above, n in reach)
    return z * y * x


def _clip(block: Triple, volume: Triple) -> Triple:
    """No axis longer than the volume needs; y and x stay multiples of 32 for the chunks."""
    z = min(block[0], volume[0])
    y, x = (min(b, -(-n // ROUND) * ROUND) for b, n in zip(block[1:], volume[1:], strict=True))
    return z, y, x
