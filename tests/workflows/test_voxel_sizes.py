"""Volumes whose voxels are not those that the network knows, from the raw volume to labels."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from small_pipeline import (
    Tissue,
    assert_same,
    contents,
    dark_network,
    paint_tissue,
    settings,
    write_volume,
)

from pipeline.boundaries.model import save_model
from pipeline.boundaries.networks.rc_spcnet import RCSPCNetConfig
from pipeline.cli import main
from pipeline.config import PipelineSections, as_yaml
from pipeline.contract import Box, Triple, VolumeInfo
from pipeline.errors import InputError, OutputError
from pipeline.features.config import FeaturesConfig
from pipeline.store.input_labels import InputLabels
from workflows.blocks import NETWORK_BYTES, RESAMPLED_BYTES, BlockMemory
from workflows.cluster import Workplace
from workflows.estimates import Work, typical
from workflows.input_level import with_level
from workflows.plan import make_plan
from workflows.prepare import Run, prepare, reopen
from workflows.reconstruct import reconstruct, status
from workflows.results import print_scores
from workflows.source import Source
from workflows.truth import open_truth
from workflows.voxel_size_checks import check_voxel_size, chosen_for_you, trained_anisotropy

BLOCK = (7, 16, 16)
FINE, COARSE = (40.0, 2.0, 2.0), (40.0, 4.0, 4.0)


def save_network(path: Path, known: tuple[float, float]) -> Path:
    """The network that tells dark from bright, which knows pixels of some sizes."""
    shape = RCSPCNetConfig(stem=4, widths=(8, 8), units=(1,) * 6, dilations=(1,) * 4).model_dump()
    card = {"halo_pixels": 8, "stride_pixels": 8, "voxel_size_nm_range": list(known)}
    save_model(path, dark_network(), shape, card)
    return path


def write_pyramid(path: Path, levels: list[NDArray[Any]], sizes: list[Any]) -> Path:
    datasets = []
    for number, size in enumerate(sizes):
        shift = [(own - first) / 2 for own, first in zip(size, sizes[0], strict=True)]
        datasets.append(
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(size)},
                    {"type": "translation", "translation": shift},
                ],
            }
        )
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    multiscale = {"axes": axes, "datasets": datasets}
    group = zarr.create_group(
        path, attributes={"ome": {"version": "0.5", "multiscales": [multiscale]}}
    )
    for number, level in enumerate(levels):
        array = group.create_array(
            str(number),
            shape=level.shape,
            dtype=level.dtype,
            chunks=tuple(min(16, n) for n in level.shape),
        )
        array[...] = level
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "n.safetensors", (3, 13))


@pytest.fixture(scope="module")
def coarse() -> Tissue:
    return paint_tissue((9, 30, 28), 8, 5)


@pytest.fixture(scope="module")
def pyramid(coarse: Tissue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Level 0 of 2 nm, with an odd number of columns; level 1 of 4 nm."""
    fine = coarse.raw.repeat(2, 1).repeat(2, 2)[:, :, :55]
    path = tmp_path_factory.mktemp("pyramid") / "v.zarr"
    return write_pyramid(path, [fine, coarse.raw], [FINE, COARSE])


@pytest.fixture(scope="module")
def config(network: Path) -> PipelineSections:
    return settings(network)


@pytest.fixture(scope="module")
def finished(
    pyramid: Path, config: PipelineSections, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("finished") / "o.zarr"
    reconstruct(
        prepare(Source(pyramid, None, None, None), config, path, device="cpu", block_shape=BLOCK)
    )
    return path


def segmented(source: Source, config: PipelineSections, path: Path, **options: Any) -> Run:
    run = prepare(source, config, path, device="cpu", block_shape=BLOCK, **options)
    reconstruct(run)
    return run


def neurons(run: Run, region: Box | None = None) -> NDArray[Any]:
    return run.output.read("neurons", region or Box((0, 0, 0), run.output.shape))


def at_input(run: Run) -> NDArray[Any]:
    assert run.input_grid is not None
    return run.output.input_labels("neurons_input", "neurons", run.input_grid).read()


def test_the_level_that_the_network_knows_is_used_and_labels_go_to_the_finest_too(
    finished: Path, coarse: Tissue
) -> None:
    run = reopen(finished)
    assert (run.volume.level, run.volume.shape) == (1, coarse.raw.shape)
    assert [one.state for one in status(run)] == ["done"] * len(status(run))
    labels = neurons(run)
    assert len(np.unique(labels)) > 4
    assert_array_equal(at_input(run), labels.repeat(2, 1).repeat(2, 2)[:, :, :55])


@pytest.mark.slow
def test_the_rest_is_as_with_the_level_given(
    finished: Path, pyramid: Path, config: PipelineSections, tmp_path: Path
) -> None:
    run = segmented(Source(pyramid, 1, None, None), config, tmp_path / "o.zarr")
    assert run.input_grid is None
    assert not run.output.has_array("neurons_input")
    assert_same(contents(tmp_path / "o.zarr"), contents(finished))


@pytest.mark.parametrize("known", [(1.0, 13.0), (2.0, 2.5)])
def test_the_finest_level_is_used_where_the_network_knows_it(
    pyramid: Path, known: tuple[float, float], tmp_path: Path
) -> None:
    config = settings(save_network(tmp_path / "n.safetensors", known))
    source = Source(pyramid, None, None, None)
    assert with_level(source, config) == source


def test_no_level_is_chosen_where_one_or_the_voxel_size_is_given_or_nothing_is_known(
    pyramid: Path, config: PipelineSections, models: Any
) -> None:
    for source in (Source(pyramid, 0, None, None), Source(pyramid, None, FINE, None)):
        assert with_level(source, config) == source
    source = Source(pyramid, None, None, None)
    assert with_level(source, settings(models.network)) == source


def test_a_region_is_in_voxels_of_the_finest_level_and_its_labels_cover_it_exactly(
    pyramid: Path, config: PipelineSections, tmp_path: Path
) -> None:
    roi = Box((1, 3, 8), (8, 40, 55))
    run = segmented(Source(pyramid, None, None, roi), config, tmp_path / "o.zarr")
    assert run.source.roi == Box((1, 1, 4), (8, 20, 28))
    assert run.input_grid is not None
    assert run.input_grid.translation_nm == (40, 6, 16)
    fine = neurons(run).repeat(2, 1).repeat(2, 2)
    assert_array_equal(at_input(run), fine[:, 1:38, :47])
    assert reopen(tmp_path / "o.zarr").source.roi == run.source.roi


def test_a_region_outside_the_finest_level_is_refused(
    pyramid: Path, config: PipelineSections, tmp_path: Path
) -> None:
    source = Source(pyramid, None, None, Box((0, 0, 0), (9, 61, 55)))
    with pytest.raises(InputError, match="leaves the volume"):
        prepare(source, config, tmp_path / "o.zarr", device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("at", ["finest", "chosen"])
def test_a_mask_may_lie_on_either_level(
    at: str, pyramid: Path, config: PipelineSections, tmp_path: Path
) -> None:
    mask = np.ones((9, 30, 28), np.uint8)
    mask[:, :12] = 0
    given = mask.repeat(2, 1).repeat(2, 2)[:, :, :55] if at == "finest" else mask
    path = write_volume(tmp_path / "m.zarr", given)
    run = segmented(Source(pyramid, None, None, None, path), config, tmp_path / "o.zarr")
    labels = neurons(run)
    assert not labels[:, :12].any()
    assert labels[:, 12:].any()
    assert not at_input(run)[:, :24].any()


def test_a_mask_of_the_finest_level_is_cut_with_the_region(
    pyramid: Path, config: PipelineSections, tmp_path: Path
) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (9, 60, 55), np.uint8)
    path = write_volume(tmp_path / "m.zarr", mask)
    roi = Box((1, 4, 8), (8, 40, 54))
    source = with_level(Source(pyramid, None, None, roi, path), config)
    opened = source.open_mask(source.open())
    assert opened is not None
    box = Box((2, 3, 1), (5, 9, 9))
    # of the two voxels at the same distance from the centre, the upper
    assert_array_equal(opened.read(box), mask[1:8, 4:40, 8:54][2:5, 7:19:2, 3:19:2])


def test_a_mask_that_may_lie_on_two_levels_is_refused(
    pyramid: Path, config: PipelineSections, tmp_path: Path
) -> None:
    """The region on the finest level is as large as the whole coarser level."""
    path = write_volume(tmp_path / "m.zarr", np.ones((9, 30, 28), np.uint8))
    source = Source(pyramid, None, None, Box((0, 10, 10), (9, 40, 38)), path)
    with pytest.raises(InputError, match=r"of all of level 1; give .* finest level \(9, 60, 55\)"):
        prepare(source, config, tmp_path / "o.zarr", device="cpu")


def test_levels_whose_metadata_contradict_each_other_are_named(
    coarse: Tissue, config: PipelineSections, tmp_path: Path
) -> None:
    fine = coarse.raw.repeat(4, 1).repeat(4, 2)
    path = write_pyramid(tmp_path / "v.zarr", [fine, coarse.raw], [FINE, COARSE])
    with pytest.raises(InputError, match=r"v\.zarr: level 1: along y .* metadata are wrong"):
        with_level(Source(path, None, None, None), config)
    assert with_level(Source(path, 1, None, None), config).finest is None


class Killed(BaseException):
    pass


def test_killed_among_the_labels_of_the_input_it_goes_on_with_those_that_are_missing(
    finished: Path,
    pyramid: Path,
    config: PipelineSections,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[Triple] = []
    write = InputLabels.write

    def killed(self: InputLabels, index: Triple) -> None:
        if len(written) == 5:
            raise Killed
        write(self, index)
        written.append(index)

    monkeypatch.setattr(InputLabels, "write", killed)
    source = Source(pyramid, None, None, None)
    with pytest.raises(Killed):
        segmented(source, config, tmp_path / "o.zarr")
    before = written[:]
    written.clear()

    def noted(self: InputLabels, index: Triple) -> None:
        write(self, index)
        written.append(index)

    monkeypatch.setattr(InputLabels, "write", noted)
    run = segmented(source, config, tmp_path / "o.zarr")
    assert len(before) == 5
    assert len(written) == 2 * 4 * 4 - 5
    assert not set(before) & set(written)
    assert_array_equal(at_input(run), at_input(reopen(finished)))
    assert_same(contents(tmp_path / "o.zarr"), contents(finished))


@pytest.mark.slow
def test_a_file_that_is_lost_is_an_error_or_written_again(
    pyramid: Path, config: PipelineSections, tmp_path: Path
) -> None:
    source = Source(pyramid, None, None, None)
    run = segmented(source, config, tmp_path / "o.zarr")
    expected = at_input(run)
    (tmp_path / "o.zarr" / "labels" / "neurons_input" / "0" / "c" / "0" / "1" / "1").unlink()
    with pytest.raises(OutputError, match=r"neurons_input.*Remove .*labels\.json"):
        reconstruct(run)
    (tmp_path / "o.zarr" / ".pipeline" / "labels.json").unlink()
    reconstruct(run)
    assert_array_equal(at_input(run), expected)


def test_switched_off_the_labels_on_the_input_go_and_only_that_stage_runs_again(
    finished: Path, pyramid: Path, network: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(finished, tmp_path / "o.zarr"))
    config = settings(network, labels={"input_geometry": False})
    source = Source(pyramid, None, None, None)
    run = prepare(source, config, path, device="cpu")
    assert [one.stage for one in status(run) if one.state != "done"] == ["labels"]
    reconstruct(run)
    assert not run.output.has_array("neurons_input")
    assert_array_equal(neurons(run), neurons(reopen(finished)))


def test_a_network_for_which_another_level_suits_gets_a_line_that_says_what_to_do(
    finished: Path, pyramid: Path, tmp_path: Path
) -> None:
    other = settings(save_network(tmp_path / "n.safetensors", (1, 13)))
    with pytest.raises(OutputError, match=r"level 1 .* level 0 .*--level 1 .*--overwrite"):
        prepare(Source(pyramid, None, None, None), other, finished, device="cpu", write=False)
    same = prepare(Source(pyramid, 1, None, None), other, finished, device="cpu", write=False)
    assert same.volume.level == 1


@pytest.mark.parametrize(
    ("known", "level", "says"),
    [
        ((3, 13), 0, "; leave --level out to"),
        ((1, 13), None, "; give --level 1 --roi 0:5,2:9,3:9 "),
    ],
    ids=["level given", "other network"],
)
def test_where_another_level_would_be_used_the_advice_goes_with_the_region(
    known: tuple[float, float],
    level: int | None,
    says: str,
    pyramid: Path,
    config: PipelineSections,
    tmp_path: Path,
) -> None:
    fine = Box((0, 4, 6), (5, 18, 18))
    output = tmp_path / "o.zarr"
    prepare(Source(pyramid, None, None, fine), config, output, device="cpu")
    other = settings(save_network(tmp_path / "n.safetensors", known))
    with pytest.raises(OutputError) as caught:
        prepare(Source(pyramid, level, None, fine), other, output, device="cpu", write=False)
    assert says in str(caught.value)
    chosen = Box((0, 2, 3), (5, 9, 9))
    on = prepare(Source(pyramid, 1, None, chosen), other, output, device="cpu", write=False)
    assert on.volume.roi == chosen


def test_what_is_planned_counts_the_labels_on_the_input(
    pyramid: Path, config: PipelineSections, network: Path, tmp_path: Path
) -> None:
    source = Source(pyramid, None, None, None)
    plans = []
    for chosen in (config, settings(network, labels={"input_geometry": False})):
        run = prepare(source, chosen, tmp_path / "o.zarr", device="cpu", write=False)
        work = Work.of(run)
        plans.append(make_plan(run, Workplace(), work, typical(work)))
    arrays = {one.name: one for one in plans[0].arrays}
    assert arrays["neurons_input"].plain_bytes == 8 * 9 * 60 * 55
    more = plans[0].disk_bytes - plans[1].disk_bytes
    assert more == pytest.approx(arrays["neurons_input"].disk_bytes, abs=2)
    assert more > 0
    assert "neurons_input" not in {one.name for one in plans[1].arrays}


def test_truth_of_either_shape_is_scored_on_its_own_grid(
    finished: Path, coarse: Tissue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = coarse.cells.repeat(2, 1).repeat(2, 2)[:, :, :55]
    scores = []
    for name, cells in (("coarse", coarse.cells), ("fine", fine)):
        truth = write_volume(tmp_path / f"{name}.zarr", cells.astype(np.uint16))
        print_scores(finished, truth, tmp_path / f"{name}.json")
        scores.append((tmp_path / f"{name}.json").read_text())
    capsys.readouterr()
    assert '"shape":[9,30,28]' in "".join(scores[0].split())
    assert '"shape":[9,60,55]' in "".join(scores[1].split())
    truth = write_volume(tmp_path / "other.zarr", fine[:, :50].astype(np.uint16))
    with pytest.raises(InputError, match=r"\(9, 50, 55\).*\(9, 30, 28\) or.*\(9, 60, 55\)"):
        print_scores(finished, truth)


def test_uncut_truth_of_the_finest_level_is_cut_as_the_region_is(
    pyramid: Path, config: PipelineSections, tmp_path: Path
) -> None:
    roi = Box((1, 4, 8), (8, 40, 54))
    source = with_level(Source(pyramid, None, None, roi), config)
    cells = np.arange(9 * 60 * 55, dtype=np.uint32).reshape(9, 60, 55)
    truth = write_volume(tmp_path / "t.zarr", cells)
    found = open_truth(truth, source.open().shape, source.roi, source.finest)
    assert_array_equal(found.read(Box((0, 0, 0), found.shape)), cells[roi.slices])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "shape", "factor"), [(2.0, (3, 60, 56), 2), (30.0, (3, 16, 14), 1 / 3)]
)
def test_a_bare_array_is_resampled_inside_the_prediction_and_labelled_at_its_own_voxels(
    size: float, shape: Triple, factor: float, config: PipelineSections, tmp_path: Path
) -> None:
    raw = paint_tissue(shape, 6, 5).raw
    array = zarr.create_array(
        tmp_path / "v.zarr", shape=raw.shape, dtype="uint8", chunks=(1, 16, 16)
    )
    array[...] = raw
    run = segmented(
        Source(tmp_path / "v.zarr", None, (100.0, size, size), None), config, tmp_path / "o.zarr"
    )
    assert Work.of(run).memory.steps == pytest.approx((1, factor, factor))
    assert neurons(run).shape == shape
    assert len(np.unique(neurons(run))) > 2
    assert not run.output.has_array("neurons_input")
    warnings = [one.text for one in check_voxel_size(run) if one.kind == "warning"]
    pixel = f"{size * factor:.3g}"
    assert any(f"{size:g} x {size:g} nm" in one and f"of {pixel} nm" in one for one in warnings)


def texts(run: Run) -> list[str]:
    return [one.text for one in check_voxel_size(run)]


def test_what_is_chosen_and_what_was_never_measured_is_said(
    finished: Path, pyramid: Path, network: Path, tmp_path: Path, models: Any
) -> None:
    (line,) = chosen_for_you(reopen(finished))
    assert line.startswith("level 1 (40 x 4 x 4 nm) is used: the network knows 3 to 13 nm")
    assert [one.kind for one in check_voxel_size(reopen(finished))] == ["fine"]

    def planned(source: Source, **changes: Any) -> Run:
        config = settings(network, **changes)
        return prepare(source, config, tmp_path / "o.zarr", device="cpu", write=False)

    finest = planned(Source(pyramid, 0, None, None))
    assert chosen_for_you(finest) == []
    assert any("pixels of 4 nm; quality was not" in one for one in texts(finest))
    off = planned(Source(pyramid, 0, None, None), boundaries={"pixel_nm": "off"})
    assert any("2 x 2 nm" in one and "as they are" in one for one in texts(off))
    oblong = planned(Source(pyramid, 0, (40.0, 4.0, 8.0), None))
    assert any("not square" in one and "pixels of 4 nm" in one for one in texts(oblong))
    thick = planned(Source(pyramid, 0, (120.0, 4.0, 4.0), None))
    assert any("120 nm thick" in one for one in texts(thick))


def test_the_anisotropies_of_a_forest_are_those_of_its_data() -> None:
    sizes = [{"voxel_size_nm": [10.0, 5.0, 5.0]}, {"voxel_size_nm": [30.0, 6.0, 6.0]}]
    assert trained_anisotropy({"data": sizes}) == (2, 5)
    assert trained_anisotropy({"data": "nothing"}) is None
    assert trained_anisotropy({}) is None


@pytest.mark.parametrize(
    ("z", "warned"), [(14.0, True), (17.0, False), (50.0, False), (62.0, False), (64.0, True)]
)
def test_an_anisotropy_that_the_forest_does_not_know_is_said(
    z: float, warned: bool, pyramid: Path, network: Path, tmp_path: Path
) -> None:
    sigmas = FeaturesConfig().model_dump()["sigmas_voxels"]
    config = settings(
        network, edges={"forest": "edges-anisotropic"}, features={"sigmas_voxels": sigmas}
    )
    source = Source(pyramid, 0, (z, 4.0, 4.0), None)
    run = prepare(source, config, tmp_path / "o.zarr", device="cpu", write=False)
    said = any("forest of the edges knows 5 to 12.5 times" in one for one in texts(run))
    assert said == warned


def test_memory_counts_the_pixels_that_the_network_sees() -> None:
    volume = VolumeInfo((90, 4000, 4000), (40.0, 16.0, 16.0), "uint8")
    plain = BlockMemory(volume, (1, 512, 512), {}, 1)
    flat = replace(plain, steps=(1.0, 0.5, 0.5))
    more = flat.of_stage("boundaries", (8, 512, 512)) - plain.of_stage("boundaries", (8, 512, 512))
    assert more == (3 * NETWORK_BYTES + RESAMPLED_BYTES) * 512 * 512


def test_run_says_which_level_it_uses(
    pyramid: Path, config: PipelineSections, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = tmp_path / "c.yaml"
    chosen.write_text(as_yaml(config))
    arguments = ["run", str(pyramid), "--config", str(chosen), "--output", str(tmp_path / "o.zarr")]
    with pytest.raises(SystemExit):
        main([*arguments, "--dry-run", "--no-calibration"])
    out, err = capsys.readouterr()
    assert "level 1 (40 x 4 x 4 nm) is used: the network knows 3 to 13 nm" in err
    assert "neurons_input uint64" in " ".join(out.split())
