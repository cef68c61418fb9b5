from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_pipeline import (
    SECTIONS_NM,
    Tissue,
    assert_same,
    contents,
    save_dark_network,
    settings,
    write_volume,
)

from pipeline.contract import Box
from pipeline.errors import ConfigError, InputError, OutputError
from workflows.cluster import Workplace
from workflows.in_memory import reconstruct_array
from workflows.prepare import Run, reopen
from workflows.reconstruct import STAGES, reconstruct, status

Prepared = Callable[..., Run]
NAMES = [s.name for s in STAGES]
BEFORE_SUPERPIXELS = NAMES[: NAMES.index("superpixels")]
FROM_SUPERPIXELS = NAMES[NAMES.index("superpixels") :]


def record_times(output: Path) -> dict[str, int]:
    """When each stage's record was last written, in ns."""
    return {n: (output / ".pipeline" / f"{n}.json").stat().st_mtime_ns for n in NAMES}


def computed_by(work: Callable[[], None], output: Path) -> list[str]:
    """Stages that some work computed."""
    before = record_times(output)
    work()
    return [n for n, when in record_times(output).items() if when != before[n]]


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({}, []),
        ({"labels": {"min_size_voxels": 300}}, ["labels"]),
        ({"multicut": {"beta": 0.8}}, ["multicut", "labels"]),
        ({"lifted": {"max_partners": 2}}, ["lifted", "multicut", "labels"]),
        ({"edges": {"forest": "none"}}, ["edges", "lifted", "multicut", "labels"]),
        ({"superpixels": {"min_size_voxels": 40}}, FROM_SUPERPIXELS),
        ({"foreground": {"padding": "none"}}, NAMES[NAMES.index("foreground") :]),
        ({"sections": {"bad": [3]}}, NAMES[NAMES.index("sections") :]),
        ({"intensity": {"low_percentile": 2.0}}, NAMES),
    ],
    ids=[
        "nothing",
        "labels",
        "multicut",
        "lifted",
        "edges",
        "superpixels",
        "foreground",
        "sections",
        "intensity",
    ],
)
def test_a_changed_parameter_reruns_exactly_the_stages_that_depend_on_it(
    change: dict[str, Any],
    stages: list[str],
    output: Path,
    prepared: Prepared,
    models: Any,
    tmp_path: Path,
) -> None:
    run = prepared(settings(models.network, models.forests, **change), output=output)
    assert [r.stage for r in status(run) if r.state == "stale"] == stages
    assert computed_by(lambda: reconstruct(run), output) == stages
    assert {r.state for r in status(run)} == {"done"}
    if not change:
        return
    fresh = prepared(run.config, output=tmp_path / "fresh.zarr")
    reconstruct(fresh)
    assert_same(contents(output), contents(fresh.output.path))


def test_workers_order_and_the_place_of_a_model_do_not_make_anything_stale(
    output: Path, prepared: Prepared, models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(models.network, tmp_path / "moved.safetensors")
    monkeypatch.chdir(tmp_path)
    run = prepared(settings(Path("moved.safetensors"), models.forests), output=output)
    again = lambda: reconstruct(run, Workplace(workers=3), order=lambda blocks: blocks[::-1])  # noqa: E731
    assert computed_by(again, output) == []
    monkeypatch.chdir("/")
    assert {r.state for r in status(reopen(output))} == {"done"}


def test_other_weights_under_the_same_path_are_noticed_and_used(
    prepared: Prepared, tmp_path: Path
) -> None:
    network = save_dark_network(tmp_path / "n.safetensors")
    run = prepared(settings(network))
    everything = Box((0, 0, 0), run.volume.shape)
    reconstruct(run, until="boundaries")
    before = run.output.read("boundaries", everything)
    with safe_open(network, "pt") as file:
        header = file.metadata()
    weights = load_file(network)
    weights["head.4.bias"] = torch.tensor([0.0, -4.5], dtype=torch.float16)
    save_file(weights, network, header)
    assert {r.stage: r.state for r in status(run)}["boundaries"] == "stale"
    assert {r.state for r in status(run)[: NAMES.index("boundaries")]} == {"done"}
    reconstruct(run, until="boundaries")
    assert (run.output.read("boundaries", everything) > before).any()


def test_an_input_that_changed_in_place_is_computed_anew(
    prepared: Prepared, models: Any, tissue: Tissue, tmp_path: Path
) -> None:
    path = write_volume(tmp_path / "v.zarr", tissue.raw)
    run = prepared(settings(models.network), path)
    reconstruct(run)
    shutil.rmtree(path)
    write_volume(path, tissue.raw[:, ::-1])
    run = prepared(settings(models.network), path)
    assert {r.state for r in status(run)} == {"stale"}
    reconstruct(run, until="boundaries")
    states = ["done"] * len(BEFORE_SUPERPIXELS) + ["missing"] * len(FROM_SUPERPIXELS)
    assert [r.state for r in status(run)] == states
    whole = reconstruct_array(
        tissue.raw[:, ::-1], SECTIONS_NM, settings(models.network), until="boundaries"
    )
    found = run.output.read("boundaries", Box((0, 0, 0), run.volume.shape))
    np.testing.assert_array_equal(found, whole["boundaries"])


def test_before_a_stale_stage_computes_nothing_of_what_depends_on_it_looks_finished(
    output: Path, prepared: Prepared, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(
        settings(models.network, models.forests, superpixels={"min_size_voxels": 40}),
        output=output,
    )

    class Stop(BaseException):
        pass

    def stop(*arguments: Any) -> None:
        raise Stop

    monkeypatch.setattr("workflows.stage_run.run_task", stop)
    with pytest.raises(Stop):
        reconstruct(run)
    rows = {r.stage: r for r in status(run)}
    assert {rows[n].state for n in BEFORE_SUPERPIXELS} == {"done"}
    assert [rows[n].state for n in FROM_SUPERPIXELS] == ["unfinished"] + ["missing"] * 6
    assert all(rows[n].blocks_done == 0 for n in FROM_SUPERPIXELS)
    assert not run.output.has_array("neurons")
    assert list(run.output.attributes["stages"]) == BEFORE_SUPERPIXELS


def test_a_second_run_on_one_output_is_refused(
    output: Path, prepared: Prepared, models: Any
) -> None:
    config = settings(models.network, models.forests)
    run = prepared(config, output=output)
    with run.ledger.lock():
        for start in (
            lambda: reconstruct(run),
            lambda: prepared(config, output=output),
            lambda: prepared(config, output=output, overwrite=True),
        ):
            with pytest.raises(OutputError, match="in use by another run"):
                start()
    reconstruct(run)


def test_an_output_of_another_input_is_refused_but_a_copy_of_its_input_is_not(
    output: Path, prepared: Prepared, models: Any, tissue: Tissue, volume: Path, tmp_path: Path
) -> None:
    config = settings(models.network, models.forests)
    other = write_volume(tmp_path / "other.zarr", tissue.raw)
    before = record_times(output)
    with pytest.raises(OutputError, match="belongs to another input"):
        prepared(config, other, output=output)
    assert record_times(output) == before
    moved = Path(shutil.copytree(volume, tmp_path / "moved.zarr"))  # keeps times
    run = prepared(config, moved, output=output)
    assert computed_by(lambda: reconstruct(run), output) == []


def test_the_input_is_not_written_to(
    prepared: Prepared, models: Any, tissue: Tissue, tmp_path: Path
) -> None:
    path = write_volume(tmp_path / "v.zarr", tissue.raw)
    files = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in path.rglob("*") if p.is_file()}
    reconstruct(prepared(settings(models.network), path))
    again = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in path.rglob("*") if p.is_file()}
    assert again == files


def test_an_output_whose_input_is_gone_says_so(
    prepared: Prepared, models: Any, tissue: Tissue, tmp_path: Path
) -> None:
    path = write_volume(tmp_path / "v.zarr", tissue.raw)
    run = prepared(settings(models.network), path)
    shutil.rmtree(path)
    with pytest.raises(InputError, match=rf"{path}: does not exist"):
        reopen(run.output.path)


def test_a_tile_that_does_not_divide_the_blocks_is_refused(
    output: Path, prepared: Prepared, models: Any
) -> None:
    config = settings(models.network, models.forests, tile=(1, 12, 12))
    with pytest.raises(ConfigError, match=r"boundaries\.tile = \[1, 12, 12\] does not divide"):
        prepared(config, output=output)


def test_a_forest_fitted_on_some_of_the_features_runs_and_sees_only_those(
    prepared: Prepared, models: Any, finished: Path
) -> None:
    more = {"sigmas_voxels": [1.0, 1.5]}
    run = prepared(settings(models.network, models.forests, features=more))
    reconstruct(run, until="edges")
    wide = run.output.read_table("edges", ["features", "p_cut"])
    narrow = reopen(finished).output.read_table("edges", ["features", "p_cut"])
    assert wide["features"].shape[1] > narrow["features"].shape[1]
    np.testing.assert_array_equal(wide["p_cut"], narrow["p_cut"])
