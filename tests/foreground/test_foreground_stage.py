"""Foreground of whole volumes and of blocks, with and without a mask volume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from defective_sections import corrected
from scipy import ndimage

import pipeline
from pipeline.config import load_config
from pipeline.contract import BLOCKS, Halo, Resources, VolumeInfo
from pipeline.foreground import STAGE
from pipeline.foreground.stage import EMPTY, ForegroundConfig
from pipeline.grid import blocks, whole
from pipeline.held import HeldInputs
from pipeline.sections.states import State
from pipeline.store.background import COLUMN, TABLE
from pipeline.tables import row_tasks
from workflows.in_memory import reconstruct_array

SMALL = ForegroundConfig(padding_width_voxels=4)


def resources(raw, threads=1, corrections=None):
    volume = VolumeInfo(raw.shape, (40.0, 4.0, 4.0), raw.dtype.name)
    return Resources(volume, {}, threads, corrections or corrected(len(raw)))


def inputs_of(raw, mask=None, block=None, empty=()):
    """Of a block, or of the whole."""
    here = (block or whole(raw.shape)).read.slices
    extremes = {"least": np.array([float(raw.min())]), "greatest": np.array([float(raw.max())])}
    volumes = {"raw": raw[here]} if mask is None else {"raw": raw[here], "mask": mask[here]}
    state = np.where(np.isin(np.arange(len(raw)), empty), State.EMPTY, State.GOOD)
    return HeldInputs({**volumes, "intensity": extremes, "sections": {"state": state}})


def run_whole(raw, config=SMALL, mask=None, threads=1, corrections=None, empty=()):
    given = resources(raw, threads, corrections)
    config = config.resolved(given.volume)
    inputs = inputs_of(raw, mask, empty=empty)
    return STAGE.compute(whole(raw.shape), inputs, config, given)["foreground"]


def run_blocks(raw, block_shape, config=SMALL, mask=None, corrections=None, empty=()):
    result, given = np.full(raw.shape, 9, np.uint8), resources(raw, 2, corrections)
    config = config.resolved(given.volume)
    for block in blocks(raw.shape, block_shape, STAGE.halo(config, given)):
        outputs = STAGE.compute(block, inputs_of(raw, mask, block, empty), config, given)
        result[block.write.slices] = outputs["foreground"]
    return result


def padded_tissue(shape=(3, 50, 47), seed=0):
    """Noise with much black in it, and black patches of any shape."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 3, shape).astype(np.uint8)
    raw[ndimage.gaussian_filter(rng.random(shape), (0, 3, 3)) > 0.52] = 0
    return raw


def test_without_a_mask_only_padding_is_background():
    raw = np.full((2, 9, 9), 50, np.uint8)
    raw[1, :, :5] = 0
    foreground = run_whole(raw)
    assert foreground.dtype == np.uint8
    assert (foreground[0] == 1).all()
    assert np.array_equal(foreground[1], np.where(np.arange(9) < 5, 0, 1) * np.ones((9, 1)))


def test_a_square_lies_within_a_section():
    raw = np.full((6, 9, 9), 50, np.uint8)
    raw[:, 4, :] = 0  # a wall of black along z, one voxel thick in its sections
    assert run_whole(raw).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint64])
def test_mask_and_padding_both_take_away(dtype):
    raw = np.full((1, 8, 8), 50, np.uint8)
    raw[0, :, :4] = 0
    mask = np.ones((1, 8, 8), dtype)
    mask[0, 6:] = 0
    before = raw.copy(), mask.copy()
    foreground = run_whole(raw, mask=mask)
    expected = np.zeros((8, 8), np.uint8)
    expected[:6, 4:] = 1
    assert np.array_equal(foreground[0], expected)
    assert np.array_equal(raw, before[0])
    assert np.array_equal(mask, before[1])


def test_none_turns_the_rule_off_and_then_nothing_around_a_block_is_read():
    raw = np.zeros((2, 20, 20), np.uint8)
    for off in (ForegroundConfig(padding="none"), ForegroundConfig(padding_values=())):
        assert run_whole(raw, off).all()
        assert STAGE.halo(off, resources(raw)) == Halo()
    assert not run_whole(raw).any()
    assert STAGE.halo(SMALL, resources(raw)) == Halo.symmetric(0, 3, 3)


@pytest.mark.parametrize("masked", [False, True])
def test_blocks_give_the_foreground_of_the_whole(masked):
    raw = padded_tissue()
    mask = (np.random.default_rng(1).random(raw.shape) < 0.8).astype(np.uint8) if masked else None
    expected = run_whole(raw, mask=mask)
    assert 0.1 < expected.mean() < 0.9
    assert np.array_equal(run_blocks(raw, (2, 13, 11), mask=mask), expected)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_black_and_the_white_of_the_data_type_are_padding(dtype, white):
    raw = np.full((1, 20, 40), 50, dtype)
    raw[0, :, :4], raw[0, :5, 10:15], raw[0, :, 20:] = white, 0, white - 1
    assert np.array_equal(run_whole(raw)[0], ~np.isin(raw[0], (0, white)))
    black_only = ForegroundConfig(padding_width_voxels=4, padding_values=(0,))
    assert np.array_equal(run_whole(raw, black_only)[0], raw[0] != 0)


def test_of_floats_zero_and_the_volumes_extremes_are_padding():
    raw = np.full((1, 20, 40), 0.3, np.float32)
    raw[0, :, :4], raw[0, :5, 10:15], raw[0, :, 36:], raw[0, 15:, 10:15] = -0.7, 0, 1.1, 1.0
    assert np.array_equal(run_whole(raw)[0], np.isin(raw[0], np.float32([0.3, 1.0])))


@pytest.mark.parametrize("bad", [[2], [3, 4], [0, 6]], ids=str)
@pytest.mark.parametrize("block_shape", [(7, 50, 47), (2, 13, 11), (3, 50, 20)], ids=str)
def test_in_any_blocks_a_bridged_section_has_the_padding_of_its_source(bad, block_shape):
    raw = padded_tissue((7, 50, 47))
    missing = raw.copy()
    missing[bad] = 0
    corrections = corrected(7, bad=bad)
    expected = run_whole(raw)[corrections.source]
    assert 0.1 < expected.mean() < 0.9
    assert np.array_equal(run_blocks(missing, block_shape, corrections=corrections), expected)
    assert not run_whole(missing)[bad].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("block_shape", [(6, 20, 18), (2, 7, 5)], ids=str)
def test_an_empty_section_without_a_substitute_is_background_whatever_its_grey(dtype, block_shape):
    raw = np.random.default_rng(0).integers(60, 200, (6, 20, 18)).astype(dtype)
    raw[[0, 2, 5]] = 128  # section 0 is bridged; of section 5 some is tissue
    raw[5, 9:12, 7:10] = raw[1, 9:12, 7:10]
    raw[3, :8, :8] = 128  # not empty: this is tissue
    corrections = corrected(6, bad=[0])
    found = run_blocks(raw, block_shape, corrections=corrections, empty=(0, 2, 5))
    expected = np.ones(raw.shape, np.uint8)
    expected[2], expected[5] = 0, raw[5] != 128
    assert np.array_equal(found, expected)
    assert np.array_equal(run_whole(raw, corrections=corrections, empty=(0, 2, 5)), expected)
    off = ForegroundConfig(padding="none")
    assert run_whole(raw, off, corrections=corrections, empty=(0, 2, 5)).all()


def test_where_corrections_alone_are_given_no_section_is_empty():
    raw = np.random.default_rng(0).integers(60, 200, (3, 40, 40)).astype(np.uint8)
    raw[2], raw[1, :35, :35] = 128, 0
    found = reconstruct_array(
        raw,
        (40.0, 4.0, 4.0),
        load_config(None),
        until="foreground",
        given={"sections": corrected(3).table()},
    )
    assert found["foreground"].mean((1, 2)).tolist() == [1, 1 - (35 / 40) ** 2, 1]


def test_empty_is_what_the_stage_sections_calls_empty():
    assert EMPTY == State.EMPTY


def test_a_mask_counts_as_it_is_in_a_bridged_section():
    raw = np.full((3, 9, 9), 50, np.uint8)
    raw[0, :4, :4] = 0
    mask = np.ones_like(raw)
    mask[1, :, 6:], mask[2, 6:] = 0, 0
    found = run_whole(raw, mask=mask, corrections=corrected(3, bad=[1]))
    expected = mask.copy()
    expected[:2, :4, :4] = 0
    assert np.array_equal(found, expected)


def test_the_halo_reaches_the_sections_that_stand_in_the_place_of_others():
    raw = np.zeros((9, 5, 5), np.uint8)
    given = resources(raw, corrections=corrected(9, bad=[2, 3, 4]))
    assert STAGE.halo(SMALL, given) == Halo.symmetric(2, 3, 3)
    assert STAGE.halo(SMALL, replace(given, corrections=None)) == Halo.symmetric(0, 3, 3)
    assert STAGE.halo(ForegroundConfig(padding="none"), given) == Halo()


def test_by_default_no_real_tissue_is_taken_for_padding():
    raw = tifffile.imread(Path(pipeline.__file__).parent / "data/sample/raw.tif")
    assert run_whole(raw, ForegroundConfig()).all()
    saturated = np.clip(raw.astype(int) * 2 - 200, 0, 255).astype(np.uint8)
    assert (saturated == 0).mean() > 0.05
    assert run_whole(saturated, ForegroundConfig()).all()
    bright = np.clip(raw.astype(int) * 3 - 200, 0, 255).astype(np.uint8)
    assert (bright == 255).mean() > 0.05
    assert run_whole(bright, ForegroundConfig()).all()


def listed_background(mask, block_shape):
    """First voxels of the blocks without tissue, by the pass over blocks and the step after it."""
    raw = np.full(mask.shape, 50, np.uint8)
    config, given = ForegroundConfig(padding="none"), resources(raw)
    kept = []
    for block in blocks(mask.shape, block_shape):
        outputs = STAGE.compute(block, {"raw": raw, "mask": mask[block.read.slices]}, config, given)
        kept.append({"background": outputs["background"]})
    inputs = HeldInputs({}, {BLOCKS: kept})
    (step,) = STAGE.after
    tasks = range(row_tasks(step.rows(inputs, config, given)))
    tables = [step.compute(task, inputs, config, given) for task in tasks]
    return np.concatenate([table["background"]["first_voxel"] for table in tables])


def test_blocks_without_tissue_are_listed_by_their_first_voxel():
    mask = np.zeros((4, 6, 10), np.uint8)
    mask[1, 2, 4] = mask[3, 5, 9] = 1
    first = listed_background(mask, (4, 3, 5))
    assert first.dtype == np.uint64
    assert first.tolist() == [0 * 10 + 5, 3 * 10 + 0]
    assert listed_background(mask, (2, 6, 10)).tolist() == []
    assert listed_background(mask, (2, 3, 10)).tolist() == [0 * 60 + 30, 2 * 60 + 0]


def test_where_no_block_has_tissue_none_is_listed():
    mask = np.zeros((2, 6, 6), np.uint8)
    assert listed_background(mask, (1, 3, 3)).tolist() == []


def test_a_long_list_is_written_by_several_tasks():
    mask = np.zeros((2, 260, 260), np.uint8)
    mask[0, 0, 0] = 1
    assert listed_background(mask, (1, 1, 1)).tolist() == list(range(1, 2 * 260 * 260))


def test_the_store_knows_the_list_by_its_name():
    (spec,) = STAGE.tables
    assert (spec.name, dict(spec.columns)) == (TABLE, {COLUMN: "uint64"})


def test_where_the_mask_leaves_no_tissue_the_raw_data_are_not_read():
    mask = np.zeros((2, 8, 8), np.uint8)
    block = whole(mask.shape)
    outputs = STAGE.compute(block, {"mask": mask}, SMALL, resources(mask))
    assert not outputs["foreground"].any()
