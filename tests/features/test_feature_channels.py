"""Filter responses: scipy as a slow reference, fixed ranges, independence of the block."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.contract import VolumeInfo
from pipeline.features.channels import (
    INPUTS,
    OUTER,
    OUTER_TRUNCATE,
    TRUNCATE,
    channel_names,
    filtered,
    response_names,
    scales,
)
from pipeline.features.config import FeaturesConfig

VOXELS = {"flat": (40.0, 4.0, 4.0), "cubic": (8.0, 8.0, 8.0), "mild": (16.0, 8.0, 8.0)}
every_voxel_size = pytest.mark.parametrize("voxel_size", VOXELS.values(), ids=VOXELS.keys())


def responses(image, voxel_size, sigmas=(1.0, 2.0), source="raw"):
    """Every response of an image by name."""
    volume = VolumeInfo(image.shape, voxel_size, "uint8")
    config = FeaturesConfig(sigmas_voxels=sigmas).resolved(volume)
    everything = tuple(slice(0, n) for n in image.shape)
    return {
        f"{name}_{scale.sigma:g}": channel
        for scale in scales(config, volume)
        for name, channel in zip(
            response_names(config),
            np.moveaxis(filtered(source, image, scale, everything), -1, 0),
            strict=True,
        )
    }


def slow_responses(image, sigma, axes):
    """Unquantised responses by scipy, in grey levels and in-plane voxels."""
    used = [axis for axis in range(3) if axes[axis]]
    inner = [sigma * axis for axis in axes]
    smooth = ndimage.gaussian_filter(image.astype(float), inner, mode="nearest", truncate=TRUNCATE)

    def slope(values, axis):
        return axes[axis] * ndimage.correlate1d(values, [-0.5, 0, 0.5], axis, mode="nearest")

    def window(values):
        outer = [OUTER * s for s in inner]
        return ndimage.gaussian_filter(values, outer, mode="nearest", truncate=OUTER_TRUNCATE)

    slopes = {axis: slope(smooth, axis) for axis in used}
    hessian = np.empty((*image.shape, len(used), len(used)))
    tensor = np.empty_like(hessian)
    for i, a in enumerate(used):
        for j, b in enumerate(used):
            bend = ndimage.correlate1d(smooth, [1, -2, 1], a, mode="nearest") * axes[a] ** 2
            hessian[..., i, j] = bend if a == b else slope(slopes[a], b)
            tensor[..., i, j] = window(slopes[a] * slopes[b])
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(tensor), 0))
    return {
        "gaussian": smooth,
        "gradient": np.sqrt(sum(s * s for s in slopes.values())),
        "laplacian": np.trace(hessian, axis1=-2, axis2=-1),
        **{f"hessian{k}": np.linalg.eigvalsh(hessian)[..., -1 - k] for k in range(len(used))},
        **{f"structure{k}": roots[..., -1 - k] for k in range(len(used))},
    }


@every_voxel_size
@pytest.mark.parametrize("sigma", [0.8, 2.3])
def test_responses_match_scipy_to_the_rounding(voxel_size, sigma):
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(9, 23, 140)), 1)
    image = (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)
    axes = tuple(
        0.0 if voxel_size[0] == 40 and n == 0 else 8.0 / v
        for n, v in enumerate((8.0, 8.0, 8.0) if voxel_size[0] == 40 else voxel_size)
    )
    steepest = 255 / (sigma * np.sqrt(2 * np.pi))
    curved = 255 * 2 * np.exp(-0.5) / (sigma**2 * np.sqrt(2 * np.pi))
    step = steepest * (0.5 / (0.5 + OUTER**2)) ** 0.25
    found = responses(image, voxel_size, (sigma,))
    for name, slow in slow_responses(image, sigma, axes).items():
        low, high = {
            "gaussian": (0, 255),
            "gradient": (0, steepest),
            "laplacian": (-curved, curved),
            "hessian": (-curved, curved),
            "structure": (0, step),
        }[name.rstrip("012")]
        levels = np.clip(255 * (slow - low) / (high - low), 0, 255)
        assert np.abs(found[f"{name}_{sigma:g}"] - levels).max() < 0.52, name


@every_voxel_size
def test_responses_do_not_depend_on_where_the_array_begins(voxel_size):
    raw = np.random.default_rng(0).integers(0, 256, (30, 40, 45), dtype=np.uint8)
    volume = VolumeInfo(raw.shape, voxel_size, "uint8")
    config = FeaturesConfig(sigmas_voxels=(0.7, 1.0)).resolved(volume)
    everything = tuple(slice(0, n) for n in raw.shape)
    for scale in scales(config, volume):
        whole = filtered("raw", raw, scale, everything)
        for begin, end in [((1, 2, 3), (28, 39, 42)), ((8, 11, 10), (21, 31, 44))]:
            cut = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
            read = tuple(
                slice(max(b - r, 0), min(e + r, n))
                for b, e, r, n in zip(begin, end, scale.radius, raw.shape, strict=True)
            )
            inner = tuple(
                slice(b - r.start, e - r.start) for b, e, r in zip(begin, end, read, strict=True)
            )
            found = filtered("raw", raw[read], scale, inner)
            assert np.array_equal(found, whole[cut])


@every_voxel_size
def test_a_constant_image_has_no_slope_and_no_curvature(voxel_size):
    image = np.full((9, 9, 9), 100, np.uint8)
    for source, level in [("raw", 100), ("boundary", 155)]:
        for name, response in responses(image, voxel_size, source=source).items():
            kind = name.split("_")[0].rstrip("012")
            expected = {"gaussian": level, "laplacian": 128, "hessian": 128}.get(kind, 0)
            assert (response == expected).all(), name


@every_voxel_size
def test_the_steepest_step_fills_the_ranges_of_gradient_and_structure(voxel_size):
    step = np.zeros((20, 20, 61), np.uint8)
    step[:, :, 30:] = 255
    found = responses(step, voxel_size, (4.0,))
    for name in ("gradient_4", "structure0_4"):
        assert 245 <= found[name].max() <= 255, name
    assert found["structure1_4"].max() <= 1


@every_voxel_size
def test_a_dark_sheet_as_wide_as_two_sigma_fills_the_range_of_curvature(voxel_size):
    sheet = np.full((20, 20, 61), 255, np.uint8)
    sheet[:, :, 26:35] = 0
    found = responses(sheet, voxel_size, (4.5,))
    for name in ("laplacian_4.5", "hessian0_4.5"):
        assert 245 <= found[name].max() <= 255, name
    assert np.abs(found["hessian1_4.5"][:, :, 30].astype(int) - 128).max() <= 1


@every_voxel_size
def test_dark_sheets_of_raw_respond_as_bright_ones_of_the_boundary_map(voxel_size):
    sheet = np.zeros((20, 20, 41), np.uint8)
    sheet[:, :, 19:22] = 255
    of_raw = responses(255 - sheet, voxel_size)
    of_boundary = responses(sheet, voxel_size, source="boundary")
    for name, response in of_raw.items():
        assert np.array_equal(response, of_boundary[name]), name
    assert (of_raw["hessian0_1"][10, 10, 20] > 180).all()
    assert responses(sheet, voxel_size)["hessian0_1"][10, 10, 20] <= 128


def test_filters_within_sections_do_not_mix_them():
    raw = np.zeros((3, 20, 20), np.uint8)
    raw[1] = 255
    for response in responses(raw, VOXELS["flat"]).values():
        assert np.array_equal(response[0], response[2])
        assert (response == response[:, :1, :1]).all()


@pytest.mark.parametrize(("mode", "directions"), [("2d", 2), ("3d", 3)])
def test_channels_are_named_by_source_filter_and_sigma(mode, directions):
    config = FeaturesConfig(mode=mode, sigmas_voxels=(1.6, 4.2))
    names = channel_names(config)
    assert len(names) == len(set(names)) == 2 * (1 + 2 * (3 + 2 * directions))
    assert names[:3] == ["raw", "raw_gaussian_1.6", "raw_gradient_1.6"]
    assert f"boundary_structure{directions - 1}_4.2" == names[-1]
    assert f"raw_hessian{directions}_1.6" not in names


@pytest.mark.parametrize("source", INPUTS)
def test_only_sources_among_the_families_have_channels(source):
    config = FeaturesConfig(mode="2d", families=(source, "topology"))
    assert {name.split("_")[0] for name in channel_names(config)} == {source}
    assert channel_names(FeaturesConfig(mode="2d", families=("regions",))) == []
