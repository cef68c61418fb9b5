"""Durations, sizes and rates as people read them."""

from __future__ import annotations

BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
MINUTE, HOUR, DAY = 60, 3600, 86400


def duration(seconds: float) -> str:
    """Seconds in the unit that fits.

    >>> [duration(s) for s in (0.4, 59.6, 61, 5400, 200000)]
    ['0.4 s', '1 min 0 s', '1 min 1 s', '1 h 30 min', '2 d 7 h']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def size(count: float) -> str:
    """Bytes in the unit that fits.

    >>> [size(n) for n in (12, 1536, 5 << 30)]
    ['12 B', '1.5 KiB', '5.0 GiB']
    """
    power = 0
    while count >= 1024 and power < len(BYTE_UNITS) - 1:
        count /= 1024
        power += 1
    return f"{count:.1f} {BYTE_UNITS[power]}" if power else f"{count:.0f} B"


def rates(tasks: int, seconds: float, unit: str, voxels_per_task: int = 0) -> str:
    """Tasks and voxels in a second.

    >>> rates(10, 5.0, "blocks", 8_388_608)
    '2.0 blocks/s, 16.8 Mvoxel/s'
    >>> rates(10, 40.0, "tasks")
    '0.25 tasks/s'
    """
    per_second = tasks / max(seconds, 1e-9)
    shown = f"{per_second:.1f}" if per_second >= 1 else f"{per_second:.2g}"
    voxels = f", {per_second * voxels_per_task / 1e6:.3g} Mvoxel/s" if voxels_per_task else ""
    return f"{shown} {unit}/s{voxels}"
