"""Runs under a mask volume: what it changes, what it makes stale, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from small_pipeline import (
    SECTIONS_NM,
    Tissue,
    assert_same_as_arrays,
    contents,
    settings,
    write_volume,
)

from pipeline.contract import Box
from pipeline.errors import InputError, OutputError
from pipeline.store import open_mask
from workflows.cluster import Workplace
from workflows.in_memory import reconstruct_array
from workflows.prepare import Run, prepare, reopen
from workflows.reconstruct import STAGES, reconstruct, status
from workflows.source import Source

NAMES = [s.name for s in STAGES]
AFTER_MASK = NAMES[NAMES.index("foreground") :]
COVERED = {"basin_voxels": 20}
Start = Callable[..., Run]


@pytest.fixture(scope="session")
def mask(tissue: Tissue) -> NDArray[np.uint8]:
    """A hole in the middle, a whole section and a whole block of 7 x 16 x 16 of background."""
    mask = np.full(tissue.raw.shape, 3, np.uint8)
    mask[:, 8:20, 10:18] = 0
    mask[4] = 0
    mask[7:, 16:, 16:] = 0
    return mask


@pytest.fixture
def start(volume: Path, models: Any, tmp_path: Path) -> Start:
    def make(mask: Path | None, roi: Box | None = None, **options: Any) -> Run:
        changes = {"superpixels": COVERED, "foreground": options.pop("foreground", {})}
        config = settings(models.network, models.forests, **changes)
        source = Source(options.pop("volume", volume), None, None, roi, mask)
        output = options.pop("output", tmp_path / "out.neurons.zarr")
        return prepare(source, config, output, device="cpu", block_shape=(7, 16, 16), **options)

    return make


def as_zarr(path: Path, mask: NDArray[Any]) -> Path:
    zarr.create_array(path, data=mask, chunks=(5, 9, 9))
    return path


def stale(run: Run) -> list[str]:
    return [row.stage for row in status(run) if row.state == "stale"]


def test_blocks_under_a_mask_equal_the_whole_and_leave_the_background_empty(
    start: Start, models: Any, tissue: Tissue, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    run = start(as_zarr(tmp_path / "mask.zarr", mask))
    reconstruct(run, order=lambda blocks: blocks[::-1])
    found = contents(run.output.path)
    config = settings(models.network, models.forests, superpixels=COVERED)
    whole = reconstruct_array(tissue.raw, SECTIONS_NM, config, given={"mask": mask})
    assert_same_as_arrays(found, whole)
    background = mask == 0
    np.testing.assert_array_equal(found["foreground/0"], (~background).astype(np.uint8))
    for name in ("superpixels/0", "neurons/0"):
        np.testing.assert_array_equal(found[name] == 0, background, err_msg=name)
    assert not found["boundaries/0"][background].any()
    assert len(np.unique(found["superpixels/0"])) > 20


@pytest.mark.parametrize("left", [0, 1], ids=["nothing", "one superpixel"])
def test_where_next_to_nothing_is_tissue_the_result_is_next_to_empty(
    left: int, models: Any, tissue: Tissue
) -> None:
    mask = np.zeros(tissue.raw.shape, bool)
    mask[3, 5 : 5 + 2 * left, 6:8] = True
    config = settings(models.network, models.forests)
    result = reconstruct_array(tissue.raw, SECTIONS_NM, config, given={"mask": mask})
    np.testing.assert_array_equal(result["neurons"], mask)
    assert len(result["nodes"]["id"]) == left
    assert not len(result["edges"]["uv"])


@pytest.mark.parametrize("form", ["zarr of bool", "OME-Zarr", "TIFF", "signed integers"])
def test_every_form_of_a_mask_gives_the_same(
    form: str, start: Start, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "mask"
    if form == "zarr of bool":
        as_zarr(path, mask > 0)
    elif form == "OME-Zarr":
        write_volume(path, mask)
    elif form == "TIFF":
        path = tmp_path / "mask.tif"
        tifffile.imwrite(path, mask, compression="zlib")
    else:
        as_zarr(path, -mask.astype(np.int32))
    run = start(path)
    reconstruct(run, until="foreground")
    whole = Box((0, 0, 0), run.volume.shape)
    np.testing.assert_array_equal(run.output.read("foreground", whole), (mask > 0).astype(np.uint8))


@pytest.mark.parametrize("cut", [False, True])
def test_with_a_region_the_mask_may_be_cut_or_whole(
    cut: bool, start: Start, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    roi = Box((2, 3, 5), (11, 29, 28))
    own = mask[roi.slices]
    run = start(as_zarr(tmp_path / "mask.zarr", own if cut else mask), roi)
    reconstruct(run, until="foreground")
    found = run.output.read("foreground", Box((0, 0, 0), run.volume.shape))
    np.testing.assert_array_equal(found, (own > 0).astype(np.uint8))


@pytest.mark.slow
def test_two_workers_give_the_same_under_a_mask(
    start: Start, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    one = start(tmp_path / "mask.tif", output=tmp_path / "one.zarr")
    reconstruct(one, until="superpixels")
    two = start(tmp_path / "mask.tif", output=tmp_path / "two.zarr")
    reconstruct(two, Workplace(workers=2), until="superpixels")
    whole = Box((0, 0, 0), one.volume.shape)
    for name in ("foreground", "superpixels"):
        first, second = one.output.read(name, whole), two.output.read(name, whole)
        np.testing.assert_array_equal(first, second)


def test_another_mask_or_none_makes_stale_what_depends_on_it_and_the_same_is_current(
    start: Start, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = as_zarr(tmp_path / "mask.zarr", mask)
    run = start(path)
    reconstruct(run)
    assert stale(start(path)) == []
    assert stale(reopen(run.output.path)) == [], "the mask is not remembered"
    other = as_zarr(tmp_path / "other.zarr", mask[:, ::-1])
    for changed in (start(other), start(None)):
        assert stale(changed) == AFTER_MASK
        assert stale(reopen(run.output.path)) == AFTER_MASK
    assert stale(start(path)) == []
    path.joinpath("c/0/0/0").touch()
    assert stale(start(path)) == AFTER_MASK, "a change in place is not noticed"


def test_a_mask_that_is_gone_is_named(
    start: Start, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, mask)
    run = start(path)
    path.unlink()
    with pytest.raises(InputError, match=rf"{path}: does not exist"):
        reopen(run.output.path)


def test_the_mask_is_not_written_to(start: Start, mask: NDArray[np.uint8], tmp_path: Path) -> None:
    path = as_zarr(tmp_path / "mask.zarr", mask)
    files = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in path.rglob("*") if p.is_file()}
    reconstruct(start(path), until="foreground")
    again = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in path.rglob("*") if p.is_file()}
    assert again == files


def test_a_mask_inside_the_output_is_refused_and_kept(
    start: Start, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    run = start(None)
    reconstruct(run, until="foreground")
    own = run.output.path / "labels" / "foreground"
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="overlaps the input"):
            start(own, overwrite=overwrite)
    assert run.output.has_array("foreground")


def test_a_search_for_foreground_looks_at_every_corner(
    volume: Path, tissue: Tissue, tmp_path: Path
) -> None:
    empty = np.zeros(tissue.raw.shape, np.uint8)
    opened = Source(volume, None, None, None).open()
    with pytest.raises(InputError, match="the mask is 0 everywhere"):
        open_mask(as_zarr(tmp_path / "empty.zarr", empty), opened).check_foreground()
    empty[-1, -1, -1] = 1
    open_mask(as_zarr(tmp_path / "last.zarr", empty), opened).check_foreground()


def test_padding_in_the_raw_data_is_background_without_any_mask(
    tissue: Tissue, start: Start, tmp_path: Path
) -> None:
    raw = np.pad(tissue.raw, ((0, 0), (0, 10), (4, 0)))
    foreground = {"padding_width_voxels": 4}
    run = start(None, volume=write_volume(tmp_path / "padded.zarr", raw), foreground=foreground)
    reconstruct(run)
    neurons = contents(run.output.path)["neurons/0"]
    tissue_at = np.zeros(raw.shape, bool)
    tissue_at[:, :30, 4:] = True
    np.testing.assert_array_equal(neurons > 0, tissue_at)
