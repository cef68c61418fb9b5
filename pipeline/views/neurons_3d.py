"""A shaded picture of a few large neurons in 3D.

1. Choose the largest neurons that are not background-like giants.
2. Resample each to cubes, smooth it, and take its surface by marching cubes.
3. Project dense points of every triangle orthographically; the nearest point of a pixel shows.
4. Shade by the angle to a light and by depth; average 2 by 2 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from pipeline.views.colours import colours_of
from pipeline.views.montage import HEADING, INK, MARGIN, PAPER, draw_scale_bar

MOST_NEURONS, GIANT = 8, 0.1
CUBES = 150
"""Cubes along the longest side."""
AZIMUTH, ELEVATION = np.radians(32.0), np.radians(24.0)
PIXELS, OVERSAMPLING, PICTURE_INCHES = 800, 2, 7.0
LIGHT = np.array([-0.45, 0.7, 0.55]) / np.linalg.norm([-0.45, 0.7, 0.55])
EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b).bit_count() == 1]


@dataclass(frozen=True)
class Surface:
    """A neuron's surface.

    Parameters
    ----------
    neuron
        Its id.
    vertices_nm
        (V, 3) zyx.
    faces
        (F, 3) indices of vertices.
    normals
        (V, 3) zyx unit vectors that point outwards.
    """

    neuron: int
    vertices_nm: NDArray[np.float64]
    faces: NDArray[np.int64]
    normals: NDArray[np.float64]


def large_neurons(neurons: NDArray[Any], most: int = MOST_NEURONS) -> list[int]:
    """Ids of the largest neurons, largest first.

    Neurons over a tenth of the volume are passed over (they hide the rest) unless there are no
    others; 0 is never chosen.
    """
    ids, sizes = np.unique(neurons, return_counts=True)
    ids, sizes = ids[ids != 0], sizes[ids != 0]
    modest = sizes <= GIANT * neurons.size
    if modest.any():
        ids, sizes = ids[modest], sizes[modest]
    order = np.lexsort((ids, -sizes))[:most]
    return [int(i) for i in ids[order]]


def neurons_figure(neurons: NDArray[Any], voxel_size_nm: tuple[float, float, float]) -> Figure:
    """The page with the picture, the volume's box, a scale bar, and the ids.

    Parameters
    ----------
    neurons
        (Z, Y, X) ids, 0 = background.
    voxel_size_nm
        zyx.

    Returns
    -------
    figure
        Not bound to a window.
    """
    extent = np.array(neurons.shape) * np.array(voxel_size_nm)
    cube = float(extent.max()) / CUBES
    strides = [max(int(cube / size), 1) for size in voxel_size_nm]
    coarse = neurons[tuple(slice(None, None, stride) for stride in strides)]
    steps = np.array(voxel_size_nm) * strides
    chosen = large_neurons(coarse)
    surfaces = [surface_of(coarse == neuron, neuron, steps, cube) for neuron in chosen]
    corners = np.array([[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * extent
    seen = _project(corners)
    low, high = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
    pad = 0.03 * float((high - low).max())
    low, high = low - pad, high + pad
    picture = render(surfaces, low, high)
    return _page(picture, chosen, seen[:, :2] - low, high - low)


def surface_of(
    mask: NDArray[np.bool_], neuron: int, steps_nm: NDArray[np.float64], cube_nm: float
) -> Surface:
    """Smooth surface of one neuron.

    Parameters
    ----------
    mask
        (Z, Y, X) bool, not empty.
    neuron
        Its id.
    steps_nm
        zyx distance between the mask's voxels.
    cube_nm
        Side of the cubes that the mask is resampled to.

    Returns
    -------
    surface
        Closed, because everything outside the volume counts as background.
    """
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    padded = np.pad(mask[box].astype(np.float32), 1)
    # Between thick sections the outline is interpolated; the padding is one voxel all round.
    zoom = steps_nm / cube_nm
    field = ndimage.zoom(padded, np.maximum(zoom, 1 / 3), order=1, grid_mode=True, mode="nearest")
    field = np.pad(ndimage.gaussian_filter(field, 1.2), 1)
    # Thin neurites fade when smoothed; half their own maximum still finds them.
    level = min(0.5, 0.5 * float(field.max()))
    vertices, faces, normals, _ = marching_cubes(field, level)
    pitch = steps_nm * np.array(padded.shape) / (np.array(field.shape) - 2)
    origin = steps_nm * (np.array([s.start for s in box]) - 1)
    placed = (vertices - 0.5) * pitch + origin
    return Surface(neuron, placed, faces.astype(np.int64), _unit(normals / pitch))


def render(
    surfaces: list[Surface], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The surfaces as seen from an oblique direction.

    Parameters
    ----------
    surfaces
        What to show; none gives an empty picture.
    low, high
        (2,) corners of the view, across and up, in nanometres.

    Returns
    -------
    picture
        (rows, columns, 4) uint8 red, green, blue, opacity; its longer side has 800 pixels.
    """
    scale = PIXELS * OVERSAMPLING / float((high - low).max())
    # Whole cells of the oversampled grid, so that it averages evenly.
    columns, rows = (np.ceil((high - low) * scale / OVERSAMPLING).astype(int)) * OVERSAMPLING
    depth = np.full(rows * columns, -np.inf)
    colour = np.zeros((rows * columns, 3), np.float32)
    for surface in surfaces:
        points, normals = _samples(surface, scale)
        pixel = np.floor((points[:, :2] - low) * scale).astype(int)
        flat = np.clip(rows - 1 - pixel[:, 1], 0, rows - 1) * columns
        flat += np.clip(pixel[:, 0], 0, columns - 1)
        nearest = depth.copy()
        np.maximum.at(nearest, flat, points[:, 2])
        shown = np.flatnonzero((points[:, 2] == nearest[flat]) & (nearest[flat] > depth[flat]))
        colour[flat[shown]] = _shade(surface.neuron, normals[shown])
        depth = nearest
    hit = np.isfinite(depth)
    if hit.any():
        front, back = depth[hit].max(), depth[hit].min()
        fog = 0.35 * (front - depth[hit]) / max(front - back, 1e-9)
        colour[hit] = colour[hit] * (1 - fog[:, None]) + 235 * fog[:, None]
    return _averaged(colour.reshape(rows, columns, 3), hit.reshape(rows, columns))


def _project(points_zyx: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points as (across, up, towards the viewer); z runs down the page, y into it."""
    z, y, x = points_zyx.T
    across = np.cos(AZIMUTH) * x + np.sin(AZIMUTH) * y
    away = -np.sin(AZIMUTH) * x + np.cos(AZIMUTH) * y
    up = -np.cos(ELEVATION) * z + np.sin(ELEVATION) * away
    towards = -np.cos(ELEVATION) * away - np.sin(ELEVATION) * z
    return np.stack([across, up, towards], axis=1)


def _samples(surface: Surface, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Projected points and normals, dense enough that every pixel of a triangle has one."""
    points, normals = _project(surface.vertices_nm), _project(surface.normals)
    # What faces away cannot be seen; triangles on the rim are kept.
    faces = surface.faces[normals[surface.faces].sum(axis=1)[:, 2] > -0.5]
    if not len(faces):
        return np.empty((0, 3)), np.empty((0, 3))
    corner = points[faces]
    longest = np.linalg.norm(corner[:, [1, 2, 0], :2] - corner[..., :2], axis=2).max() * scale
    count = int(np.clip(np.ceil(1.2 * longest), 2, 40))
    steps = np.arange(count + 1) / count
    weights = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-9])
    return (
        (weights @ points[faces]).reshape(-1, 3),
        (weights @ normals[faces]).reshape(-1, 3),
    )


def _unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Vectors (n, 3) scaled to length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float64)


def _shade(neuron: int, normals: NDArray[np.float64]) -> NDArray[np.float32]:
    """Colour of points by their normals: ambient, diffuse, a little gloss, dark rims."""
    normals = _unit(normals)
    base = colours_of(np.array([neuron]))[0].astype(np.float32)
    diffuse = np.clip(normals @ LIGHT, 0, 1)
    half = LIGHT + np.array([0, 0, 1])
    gloss = np.clip(normals @ (half / np.linalg.norm(half)), 0, 1) ** 40
    rim = 0.6 + 0.4 * np.clip(normals[:, 2] * 2, 0, 1)
    lit = base * ((0.38 + 0.72 * diffuse) * rim)[:, None] + 60 * gloss[:, None]
    shaded: NDArray[np.float32] = np.clip(lit, 0, 255).astype(np.float32)
    return shaded


def _averaged(colour: NDArray[np.float32], hit: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Mean over cells of ``OVERSAMPLING`` pixels, with the part that is hit as opacity."""
    rows, columns = hit.shape
    cells = (rows // OVERSAMPLING, OVERSAMPLING, columns // OVERSAMPLING, OVERSAMPLING)
    part = hit.reshape(cells).mean(axis=(1, 3))
    weighted = (colour * hit[..., None]).reshape(*cells, 3).mean(axis=(1, 3))
    seen = weighted / np.maximum(part, 1e-9)[..., None]
    averaged: NDArray[np.uint8] = np.rint(np.dstack([seen, 255 * part])).astype(np.uint8)
    return averaged


def _page(
    picture: NDArray[np.uint8],
    chosen: list[int],
    corners: NDArray[np.float64],
    size_nm: NDArray[np.float64],
) -> Figure:
    """Picture and legend on one page; ``corners`` (8, 2) are across and up in nanometres."""
    width_nm, height_nm = float(size_nm[0]), float(size_nm[1])
    inches = PICTURE_INCHES / max(width_nm, height_nm)
    width, height = width_nm * inches, max(height_nm * inches, 2.6)
    legend = 1.5
    page = (width + legend + 2 * MARGIN, height + HEADING + 2 * MARGIN)
    figure = Figure(figsize=page, facecolor=PAPER)
    count = len(chosen)
    heading = f"{count} large neuron{'' if count == 1 else 's'}" if count else "No neurons"
    figure.text(
        MARGIN / page[0],
        1 - MARGIN / page[1],
        heading,
        va="top",
        fontsize=14,
        fontweight="bold",
        color=INK,
    )
    axes = figure.add_axes((MARGIN / page[0], MARGIN / page[1], width / page[0], height / page[1]))
    axes.set(xlim=(0, width_nm), ylim=(height_nm, 0), aspect="auto")
    axes.axis("off")
    for a, b in EDGES:
        x, y = corners[[a, b], 0], height_nm - corners[[a, b], 1]
        axes.plot(x, y, color="#9a9a9a", linewidth=0.9, zorder=1)
    axes.imshow(picture, extent=(0, width_nm, height_nm, 0), aspect="auto", zorder=2)
    draw_scale_bar(axes, (height_nm, width_nm), (height, width), boxed=False)
    marks = [
        Line2D(
            [], [], marker="o", linestyle="", markersize=9, color=colours_of(np.array([i]))[0] / 255
        )
        for i in chosen
    ]
    if marks:
        figure.legend(
            marks,
            [str(i) for i in chosen],
            title="neuron",
            loc="center left",
            frameon=False,
            bbox_to_anchor=((MARGIN + width + 0.1) / page[0], 0.5),
            fontsize=10,
            labelspacing=0.9,
        )
    return figure
