"""Filter responses: known values, fixed ranges, and independence of the block."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contract import VolumeInfo
from pipeline.features.channels import channel_names, channels, scales
from pipeline.features.config import FeaturesConfig
from pipeline.features.curvature import largest_eigenvalue

CONFIG = FeaturesConfig(sigmas_voxels=(1.0, 2.0))
FLAT_NM = (40.0, 4.0, 4.0)
VOXELS = {"flat": FLAT_NM, "cubic": (8.0, 8.0, 8.0), "mild": (16.0, 8.0, 8.0)}


def responses(raw, boundary, voxel_size, config=CONFIG):
    volume = VolumeInfo(raw.shape, voxel_size, "uint8")
    images = channels({"raw": raw, "boundary": boundary}, config, volume)
    return dict(zip(channel_names(config), images, strict=True))


@pytest.mark.parametrize("voxel_size", VOXELS.values(), ids=VOXELS.keys())
def test_responses_do_not_depend_on_where_the_array_begins(voxel_size):
    rng = np.random.default_rng(0)
    raw, boundary = rng.integers(0, 256, (2, 30, 40, 45), dtype=np.uint8)
    whole = responses(raw, boundary, voxel_size)
    volume = VolumeInfo(raw.shape, voxel_size, "uint8")
    reach = np.max([s.radius for s in scales(CONFIG, volume)], 0)
    for z, y, x in [(1, 2, 3), (2, 5, 1), (5, 7, 6)]:
        cut = (slice(z, -2), slice(y, -1), slice(x, -3))
        inner = tuple(slice(r, -r if r else None) for r in reach)
        for name, crop in responses(raw[cut], boundary[cut], voxel_size).items():
            assert crop[inner].size
            assert np.array_equal(crop[inner], whole[name][cut][inner]), name


@pytest.mark.parametrize("voxel_size", VOXELS.values(), ids=VOXELS.keys())
def test_a_constant_image_has_no_gradient_and_no_valley(voxel_size):
    image = np.full((9, 9, 9), 100, np.uint8)
    for name, response in responses(image, image, voxel_size).items():
        kind = name.split("_")[1] if "_" in name else "input"
        gaussian = 100 if name.startswith("raw") else 155
        expected = {"input": 100, "gaussian": gaussian, "gradient": 0, "valley": 128}[kind]
        assert np.abs(response.astype(int) - expected).max() == 0, name


@pytest.mark.parametrize("voxel_size", VOXELS.values(), ids=VOXELS.keys())
def test_the_steepest_step_fills_the_range_of_the_gradient(voxel_size):
    step = np.zeros((20, 20, 41), np.uint8)
    step[:, :, 20:] = 255
    gradient = responses(step, step, voxel_size, FeaturesConfig(sigmas_voxels=(4.0,)))
    assert 245 <= gradient["raw_gradient_4"].max() <= 255


@pytest.mark.parametrize("voxel_size", VOXELS.values(), ids=VOXELS.keys())
def test_valleys_are_dark_lines_of_raw_and_bright_lines_of_the_boundary_map(voxel_size):
    line = np.zeros((20, 20, 41), np.uint8)
    line[:, :, 19:22] = 255
    found = responses(255 - line, line, voxel_size)
    assert np.array_equal(found["raw_valley_1"], found["boundary_valley_1"])
    assert (found["raw_valley_1"][10, 10, 20] > 180).all()
    bright = responses(line, line, voxel_size)
    assert bright["raw_valley_1"][10, 10, 20] <= 128


@pytest.mark.parametrize("size", [2, 3])
def test_largest_eigenvalue_matches_numpy(size):
    rng = np.random.default_rng(size)
    matrices = rng.normal(0, 0.1, (2000, size, size)).astype(np.float32)
    matrices = matrices + np.swapaxes(matrices, 1, 2)
    matrices[0], matrices[1] = 0, np.eye(size) * 0.2
    matrices[2] = np.diag([0.1, -0.3, 0.1][:size])
    triangle = [[matrices[:, i, j].reshape(20, 10, 10) for j in range(i + 1)] for i in range(size)]
    found = largest_eigenvalue(triangle).ravel()
    assert found == pytest.approx(np.linalg.eigvalsh(matrices)[:, -1], abs=2e-3)
    assert np.median(np.abs(found - np.linalg.eigvalsh(matrices)[:, -1])) < 1e-6


def test_filters_within_sections_do_not_mix_them():
    raw = np.zeros((3, 20, 20), np.uint8)
    raw[1] = 255
    for response in responses(raw, raw, FLAT_NM).values():
        assert np.array_equal(response[0], response[2])
        assert (response == response[:, :1, :1]).all()
