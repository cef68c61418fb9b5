"""Inspecting from Python: outputs, what ``run`` would do, and bytes that nobody meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_pipeline import paint_tissue, write_volume

from pipeline.config import load_config
from pipeline.contract import VolumeInfo
from pipeline.errors import PipelineError
from pipeline.packaged import packaged_presets
from pipeline.registry import STAGES
from pipeline.store.place import Place
from workflows.estimates import Work
from workflows.forecast import PRESETS, fitting_preset, foresee
from workflows.inspection import Inspection, as_json, inspect
from workflows.prepare import Run, reopen
from workflows.sampling import choose_sample
from workflows.section_findings import look_at_sections
from workflows.subject import Question, Subject
from workflows.zarr_subject import zarr_subject

HEADS = {
    "a.tif": b"II*\x00\x08\x00\x00\x00",
    "a.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4, 4)}",
    "a.h5": b"\x89HDF\r\n\x1a\n",
    "a.nii": b"\x5c\x01\x00\x00",
    "a.nii.gz": b"\x1f\x8b\x08",
    "a.mrc": b"\x04\x00\x00\x00" * 3,
    "a.png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "a.conf": b'experiment name "x";\nscale x 4.0;\n',
    "a.dat": b"",
}
"""File name -> how such a file begins."""
FOLDERS = {
    "zarr": "zarr.json",
    "zarr2": ".zarray",
    "group": ".zgroup",
    "n5": "attributes.json",
    "precomputed": "info",
    "knossos": "knossos.conf",
    "sections": "a0.png",
    "tiffs": "a0.tif",
}
"""Kind of folder -> the file by which it is known."""


def beside(place: Place) -> Path:
    return Path(f"{place}.neurons.zarr")


def look(path: Path | str, **options: Any) -> Inspection:
    return inspect(Question(str(path)), beside, **options)


def test_an_output_says_its_state_and_its_arrays(finished: Path, volume: Path) -> None:
    found = look(finished).output
    assert found is not None
    assert found.state == f"finished: all {len(STAGES)} stages are done"
    assert found.finished
    assert found.input == str(volume)
    assert found.shape == (12, 30, 28)
    arrays = {one.name: one.facts.dtype for one in found.arrays}
    assert arrays["boundaries"] == "uint8"
    assert arrays["neurons"] == arrays["superpixels"] == "uint64"
    content = as_json(look(finished))
    assert content["kind"] == "output"
    assert json.loads(json.dumps(content)) == content


def test_an_unfinished_output_says_where_it_is(output: Path) -> None:
    run = reopen(output)
    run.ledger.forget("labels")
    run.ledger.forget("multicut")
    found = look(output).output
    assert found is not None
    assert found.finished is False
    assert found.state.startswith(f"{len(STAGES) - 2} of {len(STAGES)} stages are done")


def test_an_output_whose_input_is_gone_still_says_what_it_is(output: Path, tmp_path: Path) -> None:
    metadata = output / "zarr.json"
    text = metadata.read_text()
    source = str(reopen(output).source.path)
    metadata.write_text(text.replace(source, str(tmp_path / "gone.zarr")))
    found = look(output).output
    assert found is not None
    assert found.finished is None
    assert "gone.zarr" in found.state
    assert found.arrays


def test_what_is_foreseen_is_what_a_run_prepares(prepared: Callable[..., Run]) -> None:
    config = load_config(None)
    for size in ((40.0, 8.0, 8.0), (8.0, 8.0, 8.0), (40.0, 1.0, 1.0)):
        run = prepared(config, block_shape=None, voxel_size_nm=size, write=False)
        expected, found = Work.of(run), foresee(run.volume.info, config)
        assert found.block_shape == run.output.block_shape
        assert found.blocks == expected.blocks
        assert found.memory_bytes == expected.memory.needed(run.output.block_shape)
        planes: Any = run.config.section("boundaries")
        assert found.planes == planes.planes


def test_voxels_that_the_network_never_saw_are_resampled() -> None:
    found = foresee(VolumeInfo((20, 100, 100), (40.0, 1.0, 1.0), "uint8"), load_config(None))
    assert found.known_nm is not None
    assert found.pixel_nm is not None
    assert found.known_nm[0] <= found.pixel_nm <= found.known_nm[1]
    known = foresee(VolumeInfo((20, 100, 100), (40.0, 4.0, 4.0), "uint8"), load_config(None))
    assert known.pixel_nm is None


def test_every_preset_has_the_voxel_sizes_that_it_was_made_for() -> None:
    assert set(PRESETS) == set(packaged_presets())
    for name, sizes in PRESETS.items():
        for size in sizes:
            fitting = fitting_preset(size)
            assert fitting is not None
            assert size in PRESETS[fitting], (name, fitting)
    assert fitting_preset((300.0, 50.0, 50.0)) is None


def slipped_runs(tmp_path: Path) -> Subject:
    """40 sections, of which section 21 and 33 are black."""
    raw = np.tile(paint_tissue((40, 128, 128), 60, 5).raw, (1, 2, 2))
    raw[[21, 33]] = 0
    path = write_volume(tmp_path / "v.zarr", raw)
    return zarr_subject(Question(str(path)), path)


def test_sections_of_sampled_runs_keep_their_numbers(tmp_path: Path) -> None:
    subject = slipped_runs(tmp_path)
    sample = choose_sample(subject.shape, (1, 256, 256), 1 << 18)
    assert [run.start for run in sample.runs] == [0, 32]
    found = look_at_sections(subject, sample, lambda: None)
    assert [(one.z, one.what) for one in found.findings] == [(33, "empty")]
    assert found.handled == ()
    whole = look_at_sections(subject, choose_sample(subject.shape, (16, 16, 16)), lambda: None)
    assert [one.z for one in whole.findings if one.what == "empty"] == [21, 33]


def survives(path: Path) -> None:
    """Either something is found, or one line says why not."""
    with suppress(PipelineError):
        json.dumps(as_json(look(path)), allow_nan=False)


@pytest.mark.parametrize("name", HEADS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(begins=st.booleans(), content=st.binary(max_size=400))
def test_random_bytes_in_a_file_never_end_in_a_traceback(
    tmp_path: Path, name: str, begins: bool, content: bytes
) -> None:
    (tmp_path / name).write_bytes(HEADS[name] * begins + content)
    survives(tmp_path / name)


@pytest.mark.parametrize("kind", FOLDERS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200))
def test_random_bytes_in_a_folder_never_end_in_a_traceback(
    tmp_path: Path, kind: str, content: bytes
) -> None:
    folder = tmp_path / kind
    folder.mkdir(exist_ok=True)
    (folder / FOLDERS[kind]).write_bytes(content)
    survives(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 40) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Metadata of a small array of ids, and of an image of it, of zarr 2 and 3."""
    folder = tmp_path_factory.mktemp("documents")
    ids = paint_tissue((4, 20, 20), 5, 5).cells
    image = write_volume(folder / "v.zarr", ids)
    old = folder / "old.zarr"
    zarr.create_array(old, data=ids, chunks=(4, 8, 8), zarr_format=2)
    files = [image / "zarr.json", image / "0" / "zarr.json", old / ".zarray"]
    return {str(file): json.loads(file.read_text()) for file in files}


@pytest.mark.parametrize("number", range(3))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_changed_value_in_zarr_metadata_never_ends_in_a_traceback(
    documents: dict[str, Any], number: int, data: st.DataObject
) -> None:
    file = Path(list(documents)[number])
    original = documents[str(file)]
    changed = json.loads(json.dumps(original))
    place: Any = changed
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    try:
        file.write_text(json.dumps(changed))
        survives(file.parent)
        survives(file.parent.parent if file.parent.name == "0" else file.parent)
    finally:
        file.write_text(json.dumps(original))
