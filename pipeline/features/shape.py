"""Family ``shape``: size, form and place of a contact, relative to the two superpixels.

A contact is the set of its voxel faces. Between superpixels of one section it is a line,
across sections or in 3D a surface; form is read from the second moments of the faces'
positions, so a long straight wall, a folded one and two far patches differ.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.features.columns import Column
from pipeline.features.config import FeaturesConfig
from pipeline.features.principal_axes import CELL, principal_variances
from pipeline.features.surroundings import Surroundings

SPREAD = 12
"""Square of a line's length over the variance along it; the same for a square's side."""

CONTACT = (
    Column("log_length", "log voxel faces", "number of voxel faces"),
    Column("log_extent", "log nm", "length of a straight line with the contact's major variance"),
    Column(
        "extent_to_length",
        "1",
        "extent over length; of surfaces, over the square root of the area",
    ),
    Column("fill", "1", "area over that of a rectangle with the contact's variances"),
)
RATIOS_IN_SECTION = (
    Column("minor_to_major", "1", "width over extent of the contact: 0 = straight line"),
)
RATIOS_IN_SPACE = (
    Column("middle_to_major", "1", "width over extent of the contact: 1 = as wide as long"),
    Column("minor_to_major", "1", "depth over extent of the contact: 0 = plane"),
    Column("across_share", "1", "share of its faces that look along z"),
)
PLACE = (
    Column("surface_share_min", "1", "length over all contacts of a side, the lower share"),
    Column("surface_share_max", "1", "length over all contacts of a side, the higher share"),
    Column("longest_share_min", "1", "length over the longest contact of a side, the lower"),
    Column("longest_share_max", "1", "length over the longest contact of a side, the higher"),
    Column("length_to_smaller", "1", "length over that expected of the smaller side's size"),
    Column("length_to_larger", "1", "length over that expected of the larger side's size"),
    Column("size_ratio", "1", "size of the smaller side over the larger"),
    Column("roundness_min", "1", "surface of a round body over a side's contacts, the lower"),
    Column("roundness_max", "1", "surface of a round body over a side's contacts, the higher"),
    Column("to_centre_min", "nm", "from the contact's centre to the nearer side's"),
    Column("to_centre_max", "nm", "from the contact's centre to the farther side's"),
    Column("to_centre_in_radii_min", "1", "the same over that side's major radius, the lower"),
    Column("to_centre_in_radii_max", "1", "the same over that side's major radius, the higher"),
    Column("cosine", "1", "of the angle at the contact between both centres: -1 = opposite"),
    Column("centre_distance_z", "nm", "between the sides' centres, along z"),
    Column("centre_distance_yx", "nm", "between the sides' centres, within the section"),
)


def columns(config: FeaturesConfig) -> list[Column]:
    """Columns of an edge; ``config`` is resolved."""
    ratios = RATIOS_IN_SECTION if config.flat else RATIOS_IN_SPACE
    return [
        Column(f"shape/{column.name}", column.unit, column.meaning)
        for column in (*CONTACT, *ratios, *PLACE)
    ]


def values(surroundings: Surroundings, rows: slice) -> NDArray[np.float32]:
    """Columns of some edges, (m, f) float32, see ``columns``; all finite.

    Contacts across sections and within them are compared with their own kind only. Where a
    superpixel is compared with its contacts, the volume's border and masked voxels count as
    none.
    """
    return np.stack(
        [
            *_contact(surroundings, rows),
            *_shares(surroundings, rows),
            *_sizes(surroundings, rows),
            *_distances(surroundings, rows),
        ],
        1,
    ).astype(np.float32)


def _contact(surroundings: Surroundings, rows: slice) -> list[NDArray[np.float64]]:
    """Columns of CONTACT and of the ratios."""
    edges, flat = surroundings.edges, surroundings.flat
    size = np.array(surroundings.voxel_size_nm)
    length = _lengths(surroundings, rows)
    faces = edges["faces"][rows].astype(np.float64)
    variances = principal_variances(edges["moments"][rows], surroundings.voxel_size_nm, flat)
    # a face is as wide as the finest voxel: with this a straight row of n faces is n wide
    cell = CELL * min(size[1:] if flat else size) ** 2
    extent = np.sqrt(SPREAD * (variances[:, 0] + cell))
    rectangle = SPREAD * np.sqrt((variances[:, 0] + cell) * (variances[:, 1] + cell))
    area = faces @ (math.prod(size) / size)
    if flat:
        across = edges["across_sections"][rows]
        line = faces[:, 1] * size[2] + faces[:, 2] * size[1]
        path = np.where(across, np.sqrt(area), line)
        area = length * size[1] * size[2]
    else:
        path = np.sqrt(area)
    ratios = list(np.sqrt(variances[:, 1:] / (variances[:, :1] + cell)).T)
    if not flat:
        ratios.append(faces[:, 0] / length)
    return [np.log(length), np.log(extent), extent / path, area / rectangle, *ratios]


def _shares(surroundings: Surroundings, rows: slice) -> list[NDArray[np.float64]]:
    """Length relative to the other contacts of both sides."""
    length = _lengths(surroundings, rows)[:, None]
    across = surroundings.edges["across_sections"][rows].astype(np.int64)
    kind = np.broadcast_to(across[:, None, None], (len(across), 2, 1))
    of_surface = length / np.take_along_axis(surroundings.contacts.surface[rows], kind, 2)[..., 0]
    of_longest = length / np.take_along_axis(surroundings.contacts.longest[rows], kind, 2)[..., 0]
    return [of_surface.min(1), of_surface.max(1), of_longest.min(1), of_longest.max(1)]


def _sizes(surroundings: Surroundings, rows: slice) -> list[NDArray[np.float64]]:
    """Length relative to the sizes of both sides, and these to each other and to round bodies.

    The length expected of a size is that of a square's side in flat data, else a cube's face.
    """
    length = _lengths(surroundings, rows)
    sizes = surroundings.nodes["size_voxels"][surroundings.ends[rows]].astype(np.float64)
    surface = surroundings.contacts.surface[rows]
    if surroundings.flat:
        expected, rounded, met = np.sqrt(sizes), np.sqrt(4 * np.pi * sizes), surface[:, :, 0]
    else:
        expected = np.cbrt(sizes) ** 2
        rounded, met = np.cbrt(36 * np.pi) * expected, surface.sum(2)
    roundness = np.where(met > 0, rounded / np.maximum(met, 1), 0)
    return [
        length / expected.min(1),
        length / expected.max(1),
        sizes.min(1) / sizes.max(1),
        roundness.min(1),
        roundness.max(1),
    ]


def _distances(surroundings: Surroundings, rows: slice) -> list[NDArray[np.float64]]:
    """Where the contact lies between both centres."""
    ends = surroundings.ends[rows]
    size = np.array(surroundings.voxel_size_nm)
    contact = surroundings.edges["centre"][rows] * size
    arms = surroundings.nodes["centre"][ends] * size - contact[:, None]
    arm = np.sqrt((arms * arms).sum(2))
    in_radii = arm / surroundings.radii_nm[ends, 0]
    product = arm[:, 0] * arm[:, 1]
    cosine = (arms[:, 0] * arms[:, 1]).sum(1) / np.where(product > 0, product, 1)
    apart = arms[:, 0] - arms[:, 1]
    return [
        arm.min(1),
        arm.max(1),
        in_radii.min(1),
        in_radii.max(1),
        np.clip(cosine, -1, 1),
        np.abs(apart[:, 0]),
        np.sqrt(apart[:, 1] ** 2 + apart[:, 2] ** 2),
    ]


def _lengths(surroundings: Surroundings, rows: slice) -> NDArray[np.float64]:
    """Voxel faces of the contacts."""
    return surroundings.edges["length_voxels"][rows].astype(np.float64)
