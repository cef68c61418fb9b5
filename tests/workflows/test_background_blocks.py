"""Blocks without tissue cost no work, and results do not depend on which blocks there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from small_pipeline import (
    SECTIONS_NM,
    assert_same,
    assert_same_as_arrays,
    contents,
    paint_tissue,
    settings,
    write_volume,
)

from pipeline.config import PipelineSections
from pipeline.contract import Resources, Triple, VolumeInfo
from pipeline.errors import OutputError
from pipeline.grid import blocks, whole
from pipeline.registry import STAGES, stage
from pipeline.store import Output
from workflows.in_memory import reconstruct_array
from workflows.prepare import prepare
from workflows.reconstruct import reconstruct
from workflows.source import Source

SHAPE: Triple = (6, 44, 140)
BLOCK: Triple = (3, 16, 16)
COVERED = {"basin_voxels": 30}
"""Halos that cover every basin, so that blocks equal the whole."""
Run = Callable[..., Output]


def tissue_mask() -> NDArray[np.uint8]:
    """A ragged piece in one corner and an island; 40 of the 54 blocks hold no voxel of them."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 3:30, 5:44] = 1
    mask[4, 10:14, 20:30] = 0
    mask[2:4, 36:41, 98:110] = 1
    return mask


def tissue_blocks(mask: NDArray[np.uint8], block_shape: Triple = BLOCK) -> set[Triple]:
    found = blocks(mask.shape, block_shape)  # type: ignore[arg-type]
    return {block.index for block in found if mask[block.write.slices].any()}


def files_of(array: Path) -> set[Triple]:
    """Index of every file of an array."""
    found = [f.relative_to(array / "c").parts for f in (array / "c").rglob("*") if f.is_file()]
    return {(int(z), int(y), int(x)) for z, y, x in found}


@pytest.fixture(scope="module")
def raw() -> NDArray[np.uint8]:
    return paint_tissue(SHAPE, 60, 5).raw


@pytest.fixture(scope="module")
def config(models: Any) -> PipelineSections:
    return settings(models.network, models.forests, superpixels=COVERED)


@pytest.fixture
def run(tmp_path: Path, raw: NDArray[np.uint8], config: PipelineSections) -> Run:
    def start(
        mask: NDArray[np.uint8] | None, block_shape: Triple = BLOCK, name: str = "out", **other: Any
    ) -> Output:
        given = other.pop("raw", raw)
        volume = tmp_path / f"raw{given.sum()}.zarr"
        if not volume.exists():
            write_volume(volume, given)
        path = None
        if mask is not None:
            path = tmp_path / f"mask{mask.sum()}.tif"
            if not path.exists():
                tifffile.imwrite(path, mask)
        source = Source(volume, None, None, None, path)
        chosen = other.pop("config", config)
        output = tmp_path / f"{name}.zarr"
        prepared = prepare(source, chosen, output, device="cpu", block_shape=block_shape)
        reconstruct(prepared, **other)
        return prepared.output

    return start


def test_blocks_without_tissue_are_never_computed_and_have_no_files(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: dict[str, list[Triple]] = {}
    for one in STAGES:
        if one.compute is not None:
            monkeypatch.setitem(one.__dict__, "compute", noting(one.compute, one.name, computed))
    mask = tissue_mask()
    output = run(mask, until="features")
    tissue = tissue_blocks(mask)
    assert (len(tissue), len(output.background)) == (14, 40)
    for name, indices in computed.items():
        everywhere = name in ("intensity", "sections", "foreground")
        assert len(indices) == (54 if everywhere else 14), name
        assert everywhere or set(indices) == tissue, name
    assert {"superpixels", "graph", "features"} < set(computed)
    for name in ("boundaries", "superpixels"):
        group = output.path if name == "boundaries" else output.path / "labels" / name
        assert files_of(group / "0") == tissue, name
        assert files_of(group / "1") == {(z, y // 2, x // 2) for z, y, x in tissue}, name
    assert len(files_of(output.path / "labels/foreground/0")) == 54


def noting(compute: Any, name: str, computed: dict[str, list[Triple]]) -> Any:
    def noted(block: Any, *others: Any) -> Any:
        computed.setdefault(name, []).append(block.index)
        return compute(block, *others)

    return noted


@pytest.mark.slow
def test_whatever_blocks_are_left_out_the_result_is_that_of_the_whole(
    run: Run, raw: NDArray[np.uint8], config: PipelineSections
) -> None:
    mask = tissue_mask()
    arrays = reconstruct_array(raw, SECTIONS_NM, config, given={"mask": mask})
    small = contents(run(mask).path)
    assert_same_as_arrays(small, arrays)
    large = run(mask, (6, 48, 48), "large")
    assert 0 < len(large.background) < 3
    assert_same(contents(large.path), small)
    np.testing.assert_array_equal(small["neurons/0"] > 0, mask > 0)
    assert len(np.unique(small["neurons/0"])) > 3


@pytest.mark.slow
def test_padding_is_left_out_like_a_mask(run: Run, models: Any, raw: NDArray[np.uint8]) -> None:
    padded = raw.copy()
    padded[:, :, 40:] = 0
    config = settings(models.network, models.forests, superpixels=COVERED,
                      foreground={"padding_width_voxels": 8})  # fmt: skip
    output = run(None, raw=padded, config=config, until="superpixels")
    assert len(output.background) == 2 * 3 * 6
    expected = reconstruct_array(padded, SECTIONS_NM, config, until="superpixels")
    for name in ("boundaries", "superpixels"):
        np.testing.assert_array_equal(output.read(name, whole(SHAPE).write), expected[name])


@pytest.mark.slow
def test_a_volume_of_tissue_leaves_nothing_out(run: Run) -> None:
    output = run(None, (6, 32, 64), until="boundaries")
    assert len(output.background) == 0
    assert len(files_of(output.path / "0")) == 1 * 2 * 3


@pytest.mark.slow
def test_where_there_is_no_tissue_at_all_the_result_is_empty(
    run: Run, models: Any, raw: NDArray[np.uint8]
) -> None:
    padded = raw.copy()
    padded[:, :, 40:] = 0
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, :, 60:] = 1
    config = settings(models.network, models.forests, superpixels=COVERED,
                      foreground={"padding_width_voxels": 8})  # fmt: skip
    found = contents(run(mask, raw=padded, config=config).path)
    assert not found["neurons/0"].any()
    assert len(found["nodes/id"]) == 0


@pytest.mark.slow
def test_a_finished_run_misses_no_file_of_background_but_any_other(
    run: Run, raw: NDArray[np.uint8]
) -> None:
    mask = tissue_mask()
    output = run(mask, until="superpixels")
    before = {file: file.stat().st_mtime_ns for file in output.path.rglob("c/*/*/*")}
    run(mask, until="superpixels")
    assert {file: file.stat().st_mtime_ns for file in output.path.rglob("c/*/*/*")} == before
    (output.path / "labels/superpixels/0/c/0/0/0").unlink()
    with pytest.raises(OutputError, match=r"superpixels/0: finished data is gone.*0/c/0/0/0"):
        run(mask, until="superpixels")


@pytest.mark.slow
def test_with_another_mask_other_blocks_are_left_out(run: Run) -> None:
    mask = tissue_mask()
    run(mask, until="superpixels")
    mask[:, 3:30, :20] = 0
    mask[:, 3:30, 44:70] = 1
    changed, fresh = run(mask, until="superpixels"), run(mask, name="fresh", until="superpixels")
    for name in ("boundaries", "superpixels"):
        np.testing.assert_array_equal(
            changed.read(name, whole(SHAPE).write), fresh.read(name, whole(SHAPE).write)
        )
    assert files_of(changed.path / "0") == files_of(fresh.path / "0") == tissue_blocks(mask)


def test_superpixels_do_not_see_the_boundary_map_of_the_background(
    config: PipelineSections,
) -> None:
    rng = np.random.default_rng(0)
    volume = VolumeInfo(SHAPE, SECTIONS_NM, "uint8")
    section = config.resolved(volume).section("superpixels")
    mask = tissue_mask()
    first, second = (
        np.where(mask, 20 * (np.indices(SHAPE).sum(0) % 9), background).astype(np.uint8)
        for background in (0, rng.integers(0, 256, SHAPE))
    )
    found = [
        stage("superpixels").compute(  # type: ignore[misc]
            whole(SHAPE), {"boundaries": one, "foreground": mask}, section, Resources(volume)
        )["superpixels"]
        for one in (first, second)
    ]
    np.testing.assert_array_equal(*found)
    assert len(np.unique(found[0])) > 10
