"""A synthetic electron microscopy stack: drifting tubes, organelles, membranes, microscope.

The order of the work follows Sokolov, Vasiliev and Getmanskaya, "Generation and study of the
synthetic brain electron microscopy dataset for segmentation purpose", Computer Optics 47(5),
2023 (organelles, membranes, blur and Poisson noise), here with neurons that continue from
section to section:

1. tubes that fill space (``packing``), cut into sections by a power diagram on a grid warped
   smoothly in 3D (``power_diagram``);
2. cytoplasm with texture, organelles (``organelles``, ``drawing``), and dark membranes at the
   borders;
3. a thick section is the mean of several planes, so oblique membranes smear as in reality;
4. blur, shading, noise (``microscope``);
5. ids that are connected in 3D (``connected``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.contract import StageConfig, Triple
from pipeline.errors import InputError
from pipeline.synthesis.connected import connected_neurons
from pipeline.synthesis.drawing import Place, draw
from pipeline.synthesis.microscope import MicroscopeConfig, photograph
from pipeline.synthesis.organelles import Organelles, OrganellesConfig, place
from pipeline.synthesis.packing import Tubes, TubesConfig, drifting_tubes
from pipeline.synthesis.power_diagram import Section, power_diagram
from pipeline.synthesis.random_fields import SmoothField

PLANE_NM, MOST_PLANES = 17.0, 3
WARP_LENGTH_NM, GRAIN_NM, PATCH_NM = 90.0, 5.0, 160.0


class SynthesisConfig(StageConfig):
    """Parameters of the synthetic tissue; defaults resemble ssTEM of *Drosophila* larva."""

    tubes: TubesConfig = Field(
        default=TubesConfig(),
        description="Shape of the neurons.",
    )
    organelles: OrganellesConfig = Field(
        default=OrganellesConfig(), description="Contents of the neurons."
    )
    microscope: MicroscopeConfig = Field(
        default=MicroscopeConfig(), description="Imperfections of imaging."
    )
    membrane_nm: float = Field(
        default=26.0,
        gt=0,
        le=200,
        description="Thickness of the dark band between cells, in nanometres.",
    )
    membrane_grey: float = Field(
        default=50.0, ge=0, le=255, description="Grey value of membranes before noise, 0..255."
    )
    cytoplasm_grey: float = Field(
        default=150.0,
        ge=0,
        le=255,
        description="Mean grey value of cytoplasm before noise, 0..255.",
    )
    cytoplasm_spread: float = Field(
        default=13.0,
        ge=0,
        description="Standard deviation of cytoplasm over neurons, in grey values.",
    )
    grain: float = Field(
        default=20.0,
        ge=0,
        description="Standard deviation of the texture of cytoplasm, in grey values.",
    )
    warp_nm: float = Field(
        default=27.0,
        ge=0,
        le=60,
        description="Standard deviation of the bends of membranes, nanometres.",
    )


@dataclass(frozen=True)
class Synthetic:
    """A stack and its truth.

    Parameters
    ----------
    raw
        (Z, Y, X) uint8 grey values; membranes are dark.
    neurons
        (Z, Y, X) uint64, consecutive from 1. Dense: membranes belong to the nearer neuron and
        0 does not occur. Every neuron is connected through voxel faces.
    """

    raw: NDArray[np.uint8]
    neurons: NDArray[np.uint64]


def synthesise(
    shape: Triple,
    *,
    voxel_size_nm: tuple[float, float, float],
    rng: np.random.Generator,
    config: SynthesisConfig | None = None,
) -> Synthetic:
    """Make a stack of packed, drifting neurons.

    Parameters
    ----------
    shape
        Voxels along z, y, x.
    voxel_size_nm
        zyx; thick sections (such as 50, 4, 4) and cubes (such as 8, 8, 8) both work.
    rng
        Source of all randomness: generators made from the same seed give the same stack.
    config
        Parameters; ``None`` takes the defaults.

    Returns
    -------
    synthetic
        Raw stack and neuron ids.

    Raises
    ------
    InputError
        If a length of the shape or a voxel size is not positive.
    """
    if min(shape) < 1 or min(voxel_size_nm) <= 0:
        raise InputError(
            f"shape {shape} and voxel size {voxel_size_nm} nm must be positive along z, y, x"
        )
    config = config or SynthesisConfig()
    # Streams of their own: a change to one part of the config leaves the others as they are.
    tubes_rng, contents_rng, camera_rng = rng.spawn(3)
    tissue = _Tissue(shape, voxel_size_nm, tubes_rng, contents_rng, config)
    raw = np.empty(shape, np.uint8)
    cells = np.empty(shape, np.int64)
    for z in range(shape[0]):
        ideal, cells[z] = tissue.section(z)
        raw[z] = photograph(
            ideal, tissue.shade.section(z), voxel_size_nm, camera_rng, config.microscope
        )
    profile = np.pi * config.tubes.smallest_radius_nm**2 / (voxel_size_nm[1] * voxel_size_nm[2])
    return Synthetic(raw=raw, neurons=connected_neurons(cells, max(int(profile / 2), 2)))


class _Tissue:
    """Everything drawn once for a stack; gives its ideal sections one at a time."""

    def __init__(
        self,
        shape: Triple,
        voxel_size_nm: tuple[float, float, float],
        rng: np.random.Generator,
        contents_rng: np.random.Generator,
        config: SynthesisConfig,
    ) -> None:
        self.config = config
        thickness = voxel_size_nm[0]
        self.planes = int(np.clip(np.ceil(thickness / PLANE_NM), 1, MOST_PLANES))
        fine = (np.arange(shape[0] * self.planes) + 0.5) * thickness / self.planes
        z, y, x = (
            (np.arange(n, dtype=np.float64) + 0.5) * float(v)
            for n, v in zip(shape, voxel_size_nm, strict=True)
        )
        self.depths_nm = fine
        self.axes = y.astype(np.float32), x.astype(np.float32)
        extent = (shape[1] * voxel_size_nm[1], shape[2] * voxel_size_nm[2])
        self.tubes: Tubes = drifting_tubes(fine, extent, rng, config.tubes)
        self.organelles: Organelles = place(self.tubes, fine, contents_rng, config.organelles)
        warp = (2 * WARP_LENGTH_NM, WARP_LENGTH_NM, WARP_LENGTH_NM)
        self.warp_y = SmoothField((fine, y, x), warp, rng)
        self.warp_x = SmoothField((fine, y, x), warp, rng)
        self.patch = SmoothField((fine, y, x), (PATCH_NM,) * 3, rng)
        # Grain finer than a voxel would only be drawn to be lost.
        grain = (thickness, max(GRAIN_NM, voxel_size_nm[1]), max(GRAIN_NM, voxel_size_nm[2]))
        self.grain = SmoothField((z, y, x), grain, rng)
        self.shade = SmoothField((z, y, x), (thickness, 900.0, 900.0), rng)
        spread = rng.standard_normal(len(self.tubes.neuron))[self.tubes.neuron]
        self.cytoplasm = (config.cytoplasm_grey + config.cytoplasm_spread * spread).astype(
            np.float32
        )

    def section(self, z: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Ideal grey values (Y, X) of section ``z`` and the neuron of every pixel."""
        first = z * self.planes
        grain = self.grain.section(z)
        image = np.zeros_like(grain)
        cells = np.empty(0, np.int64)
        for plane in range(first, first + self.planes):
            cut = self._cut(plane)
            image += self._grey(cut, plane, grain) / self.planes
            if plane == first + self.planes // 2:
                cells = self.tubes.neuron[cut.disc]
        return image, cells

    def _cut(self, plane: int) -> Section:
        """Power diagram of one plane on the warped grid."""
        amount = np.float32(self.config.warp_nm)
        y = self.axes[0][:, None] + amount * self.warp_y.section(plane)
        x = self.axes[1][None, :] + amount * self.warp_x.section(plane)
        centres, radii = self.tubes.centres_nm[plane], self.tubes.radii_nm[plane]
        return power_diagram(y, x, centres, radii, self.tubes.neuron)

    def _grey(self, cut: Section, plane: int, grain: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cytoplasm, organelles, then membranes over both."""
        config, patch = self.config, self.patch.section(plane)
        image = self.cytoplasm[cut.disc] + np.float32(config.grain) * grain
        at = Place(cut, self.tubes, plane, float(self.depths_nm[plane]))
        image = draw(image, at, self.organelles, config.organelles, darkest=config.membrane_grey)
        # Where the slow field is high the membrane is thicker and has a dense fringe: a synapse.
        dense = np.clip(patch - 1.6, 0, 1)
        half = np.float32(config.membrane_nm / 2) * (1 + 0.12 * np.clip(patch, -1.5, 1.5))
        membrane = 1 / (1 + np.exp(np.clip((cut.border_nm - half) / 3, -20, 20)))
        fringe = 0.8 * dense * np.exp(-np.minimum(cut.border_nm, 1e4) / 35)
        cover = np.maximum(membrane, fringe)
        target = np.float32(config.membrane_grey) + 0.3 * np.float32(config.grain) * grain
        mixed: NDArray[np.float32] = ((1 - cover) * image + cover * target).astype(np.float32)
        return mixed
