"""Grey values of organelles, painted over the cytoplasm of one plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.synthesis.organelles import Organelles, OrganellesConfig
from pipeline.synthesis.packing import Tubes
from pipeline.synthesis.power_diagram import Section

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Place:
    """Where in the tissue a plane lies.

    Parameters
    ----------
    section
        Owners of the pixels, and where these lie.
    tubes
        Discs at every plane.
    plane
        Which of their positions to take.
    depth_nm
        Depth of the plane.
    """

    section: Section
    tubes: Tubes
    plane: int
    depth_nm: float

    def point(self, disc: int, dy: float, dx: float) -> tuple[float, float]:
        """Y and x, in nanometres, of an offset in radii from the centre of a disc."""
        radius = self.tubes.radii_nm[self.plane, disc]
        y, x = self.tubes.centres_nm[self.plane, disc] + radius * np.array([dy, dx])
        return float(y), float(x)

    def window(self, point: tuple[float, float], half_nm: float) -> Window | None:
        """The pixels that may lie within ``half_nm`` of a point; ``None`` where there are none."""
        slices = []
        for (low, high), middle in zip(self._spans, point, strict=True):
            near = np.flatnonzero((low < middle + half_nm) & (high > middle - half_nm))
            if not len(near):
                return None
            slices.append(slice(int(near[0]), int(near[-1]) + 1))
        return slices[0], slices[1]

    @cached_property
    def _spans(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Least and greatest y of every row, and x of every column."""
        y, x = self.section.y_nm, self.section.x_nm
        return [(y.min(axis=1), y.max(axis=1)), (x.min(axis=0), x.max(axis=0))]


def draw(
    image: NDArray[np.float32],
    at: Place,
    organelles: Organelles,
    config: OrganellesConfig,
    *,
    darkest: float,
) -> NDArray[np.float32]:
    """The plane with its organelles.

    Parameters
    ----------
    image
        (Y, X) float32 grey values of the cytoplasm.
    at
        Where the plane lies.
    organelles, config
        What to draw.
    darkest
        Grey value of membranes.

    Returns
    -------
    image
        (Y, X) float32, a copy.
    """
    image = image.copy()
    around = config.vesicle_radius_nm
    rings = np.sqrt(np.maximum(around**2 - (organelles.vesicles[:, 1] - at.depth_nm) ** 2, 0))
    for i in np.flatnonzero(rings > 0):
        disc, _, dy, dx = organelles.vesicles[i]
        point = at.point(int(disc), dy, dx)
        _draw_vesicle(image, at, point, (float(rings[i]), around), darkest)
    for disc, dy, dx in organelles.microtubules:
        _draw_dot(image, at, at.point(int(disc), dy, dx), darkest)
    # Last: nothing lies over a mitochondrion.
    for row in organelles.mitochondria:
        _draw_mitochondrion(image, at, row, config.crista_spacing_nm, darkest)
    return image


def _distance(at: Place, window: Window, point: tuple[float, float]) -> NDArray[np.float32]:
    """Distances, in nanometres, of the window's pixels to the point."""
    distance: NDArray[np.float32] = np.hypot(
        at.section.y_nm[window] - point[0], at.section.x_nm[window] - point[1]
    )
    return distance


def _draw_dot(
    image: NDArray[np.float32], at: Place, point: tuple[float, float], darkest: float
) -> None:
    """Paint a microtubule cut across."""
    window = at.window(point, 30.0)
    if window is not None:
        dot = np.exp(-((_distance(at, window, point) / 11) ** 2))
        image[window] -= 0.75 * dot * (image[window] - darkest)


def _draw_vesicle(
    image: NDArray[np.float32],
    at: Place,
    point: tuple[float, float],
    radii_nm: tuple[float, float],
    darkest: float,
) -> None:
    """Paint a vesicle: dark rim, pale lumen; ``radii_nm`` are of the ring cut and its own."""
    ring_nm, radius_nm = radii_nm
    window = at.window(point, radius_nm + 8)
    if window is None:
        return
    distance = _distance(at, window, point)
    rim = np.exp(-(((distance - ring_nm + 5) / 6) ** 2))
    lumen = np.exp(-((distance / (0.5 * radius_nm)) ** 2))
    image[window] += (0.2 * lumen - 0.7 * rim) * (image[window] - darkest)


def _draw_mitochondrion(
    image: NDArray[np.float32],
    at: Place,
    row: NDArray[np.float64],
    crista_spacing_nm: float,
    darkest: float,
) -> None:
    """Paint one ellipse: dark matrix, darker cristae, double dark rim."""
    disc = int(row[0])
    middle, half_length, longer, shorter, angle, phase = row[1:]
    taper = 1 - ((at.depth_nm - middle) / half_length) ** 2
    centre = at.point(disc, 0.0, 0.0)
    window = at.window(centre, longer + 20) if taper > 0 else None
    if window is None:
        return
    y, x = at.section.y_nm[window] - centre[0], at.section.x_nm[window] - centre[1]
    u = np.cos(angle) * y + np.sin(angle) * x
    v = np.cos(angle) * x - np.sin(angle) * y
    # The fourth root keeps the profile wide until close to the ends.
    scale = taper**0.25
    ratio = np.sqrt((u / (longer * scale)) ** 2 + (v / (shorter * scale)) ** 2)
    inside_nm = (1 - ratio) * shorter * scale
    cover = np.clip(inside_nm / 6 + 0.5, 0, 1) * (at.section.disc[window] == disc)
    wave = 2 * np.pi * u / crista_spacing_nm + phase + 0.9 * np.sin(v / 40 + phase)
    gap = np.exp(-(((inside_nm - 14) / 5) ** 2))
    rim = np.exp(-(((inside_nm - 4) / 6) ** 2))
    body = darkest * (1.3 + 0.5 * np.cos(wave) + 0.35 * gap - 0.6 * rim)
    image[window] = (1 - cover) * image[window] + cover * body
