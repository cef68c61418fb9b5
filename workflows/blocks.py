"""Choice of the write block: made of prediction tiles, and small enough for the memory."""

from __future__ import annotations

from pipeline.contract import Triple, VolumeInfo
from pipeline.errors import ConfigError, ResourceError

BYTES_PER_VOXEL = 110
"""Working memory of the hungriest stage (features), measured, for each voxel of a block."""
BASE_BYTES = 500 << 20
"""A worker with its libraries and the network."""
SECTIONS = 32
ROUND = 32


def choose_block_shape(volume: VolumeInfo, tile: Triple, memory_bytes: int | None = None) -> Triple:
    """Write block, zyx, for a volume.

    Parameters
    ----------
    volume
        Its shape decides how far a block is clipped.
    tile
        Prediction tile; blocks are multiples of it.
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
    while tile[0] == 1 and shape[0] > 1 and _needed(shape) > memory_bytes:
        shape = (max(1, shape[0] // 2), shape[1], shape[2])
    if _needed(shape) > memory_bytes:
        raise ResourceError(
            f"blocks of {shape} voxels need about {_needed(shape) / 2**30:.1f} GiB, more than the "
            f"{memory_bytes / 2**30:.1f} GiB of --memory; raise it, or give a smaller "
            "--set boundaries.tile='[z, y, x]'"
        )
    return shape


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


def _needed(shape: Triple) -> int:
    return BASE_BYTES + BYTES_PER_VOXEL * shape[0] * shape[1] * shape[2]


def _clip(block: Triple, volume: Triple) -> Triple:
    """No axis longer than the volume needs; y and x stay multiples of 32 for the chunks."""
    z = min(block[0], volume[0])
    y, x = (min(b, -(-n // ROUND) * ROUND) for b, n in zip(block[1:], volume[1:], strict=True))
    return z, y, x
