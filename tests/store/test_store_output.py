"""The output store: valid OME-Zarr, and loud about data that is lost or damaged."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from ome_zarr_models.v05 import Image, ImageLabel
from store_pyramids import build_pyramid

from pipeline.contract import ArraySpec, Box
from pipeline.errors import OutputError
from pipeline.grid import blocks
from pipeline.store import Output, is_output, open_labels, open_volume, read_labels, read_map

BOUNDARIES = ArraySpec("boundaries", "uint8", "image")
NEURONS = ArraySpec("neurons", "uint64", "labels")
ONE_BLOCK = Box((0, 0, 64), (16, 64, 128))
WHOLE = Box((0, 0, 0), (20, 150, 140))


def fill(output: Output, spec: ArraySpec) -> NDArray[Any]:
    """Write every block; the voxels."""
    rng = np.random.default_rng(1)
    data = rng.integers(0, 200, output.shape).astype(spec.dtype)
    output.create_array(spec)
    for block in blocks(output.shape, output.block_shape):
        output.write(spec.name, block.write, data[block.write.slices])
    return data


def shard(output: Output, array: str, index: str) -> Path:
    return output.path / array / "c" / index


def files_of(path: Path) -> set[Path]:
    return {f for f in path.rglob("*") if f.is_file()}


@pytest.mark.parametrize("spec", [BOUNDARIES, NEURONS], ids=lambda spec: spec.name)
def test_blocks_come_back_whatever_box_is_read(output: Output, spec: ArraySpec) -> None:
    data = fill(output, spec)
    box = Box((3, 50, 60), (20, 140, 131))
    assert np.array_equal(output.read(spec.name, WHOLE), data)
    assert np.array_equal(output.read(spec.name, box), data[box.slices])
    assert output.read(spec.name, box).dtype == spec.dtype


def test_writing_one_block_touches_one_file(output: Output) -> None:
    output.create_array(NEURONS)
    before = files_of(output.path)
    output.write("neurons", ONE_BLOCK, np.zeros(ONE_BLOCK.shape, np.uint64))
    written = files_of(output.path) - before
    assert written == {shard(output, "labels/neurons/0", "0/0/1")}


@pytest.mark.parametrize(
    "box",
    [
        Box((0, 0, 1), (16, 64, 65)),
        Box((0, 0, 0), (15, 64, 64)),
        Box((16, 0, 0), (32, 64, 64)),
        Box((0, 0, 0), (0, 64, 64)),
    ],
)
def test_box_that_is_not_whole_files_is_a_mistake(output: Output, box: Box) -> None:
    output.create_array(NEURONS)
    with pytest.raises(AssertionError, match="whole files"):
        output.write("neurons", box, np.zeros(box.shape, np.uint64))


def test_wrong_dtype_or_shape_is_a_mistake(output: Output) -> None:
    output.create_array(NEURONS)
    with pytest.raises(AssertionError, match="int64"):
        output.write("neurons", ONE_BLOCK, np.zeros(ONE_BLOCK.shape, np.int64))
    with pytest.raises(AssertionError, match="given for"):
        output.write("neurons", ONE_BLOCK, np.zeros((16, 64, 63), np.uint64))


def test_every_flipped_bit_of_a_shard_is_noticed_and_its_file_named(output: Output) -> None:
    data = fill(output, NEURONS)
    file = shard(output, "labels/neurons/0", "1/0/1")
    whole = file.read_bytes()
    rng = np.random.default_rng(2)
    for position in rng.integers(0, len(whole), 30):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        pattern = (
            f"labels/neurons/0: cannot read voxels z 0:20 .* damaged file {re.escape(str(file))} "
        )
        with pytest.raises(OutputError, match=pattern):
            output.read("neurons", WHOLE)
    assert np.array_equal(output.read("neurons", ONE_BLOCK), data[ONE_BLOCK.slices])


@pytest.mark.parametrize("loss", ["deleted", "emptied"])
def test_lost_shard_is_named_by_verify_read_and_pyramid(output: Output, loss: str) -> None:
    fill(output, NEURONS)
    file = shard(output, "labels/neurons/0", "0/0/1")
    output.verify("neurons", ONE_BLOCK)
    if loss == "deleted":
        file.unlink()
    else:
        file.write_bytes(b"")
    pattern = f"labels/neurons/0: finished data is gone.*{re.escape(str(file))}"
    with pytest.raises(OutputError, match=pattern):
        output.verify("neurons", ONE_BLOCK)
    with pytest.raises(OutputError, match=pattern):
        output.read("neurons", WHOLE)
    with pytest.raises(OutputError, match=pattern):
        build_pyramid(output, "neurons", "labels")
    output.verify("neurons", Box((0, 0, 0), (16, 64, 64)))


@pytest.fixture
def with_background(output: Output) -> tuple[Output, NDArray[Any]]:
    """Neurons of which two blocks are background: they have no file."""
    data = fill(output, NEURONS)
    background = Box((0, 64, 0), (16, 128, 128))
    data[background.slices] = 0
    first = [np.ravel_multi_index(corner, output.shape) for corner in ((0, 64, 0), (0, 64, 64))]
    output.write_table("background", {"first_voxel": np.array(first, np.uint64)})
    for x in "01":
        shard(output, "labels/neurons/0", f"0/1/{x}").unlink()
    return output, data


def test_background_blocks_need_no_file_and_read_as_zero(
    with_background: tuple[Output, NDArray[Any]],
) -> None:
    output, data = with_background
    assert len(output.background) == 2
    assert (0, 1, 1) in output.background
    assert (0, 1, 2) not in output.background
    assert np.array_equal(output.read("neurons", WHOLE), data)
    output.verify("neurons", WHOLE)
    build_pyramid(output, "neurons", "labels")
    assert np.array_equal(read_labels(output.path), data)


@pytest.mark.parametrize("loss", ["deleted", "emptied"])
def test_beside_background_a_lost_file_is_still_named(
    with_background: tuple[Output, NDArray[Any]], loss: str
) -> None:
    output, _ = with_background
    file = shard(output, "labels/neurons/0", "0/1/2")
    if loss == "deleted":
        file.unlink()
    else:
        file.write_bytes(b"")
    pattern = f"finished data is gone.* missing or empty {re.escape(str(file))}$"
    for call in (output.read, output.verify):
        with pytest.raises(OutputError, match=pattern):
            call("neurons", WHOLE)


def test_a_new_list_of_background_replaces_the_old_in_a_running_process(
    with_background: tuple[Output, NDArray[Any]],
) -> None:
    output, data = with_background
    assert np.array_equal(output.read("neurons", WHOLE), data)
    output.write_table("background", {"first_voxel": np.zeros(0, np.uint64)})
    assert len(output.background) == 0
    with pytest.raises(OutputError, match="finished data is gone"):
        output.read("neurons", WHOLE)
    output.remove_table("background")
    with pytest.raises(OutputError, match="finished data is gone"):
        output.read("neurons", WHOLE)


def test_truncated_shard_is_noticed(output: Output) -> None:
    fill(output, BOUNDARIES)
    file = shard(output, "0", "0/0/1")
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(OutputError, match=re.escape(str(file))):
        output.read("boundaries", WHOLE)


def test_block_of_zeros_is_written_not_left_out(output: Output) -> None:
    output.create_array(BOUNDARIES)
    output.write("boundaries", ONE_BLOCK, np.zeros(ONE_BLOCK.shape, np.uint8))
    output.verify("boundaries", ONE_BLOCK)
    assert not output.read("boundaries", ONE_BLOCK).any()


def test_checksum_stands_inside_the_shard(output: Output) -> None:
    output.create_array(BOUNDARIES)
    (codec,) = json.loads((output.path / "0" / "zarr.json").read_text())["codecs"]
    assert codec["name"] == "sharding_indexed"
    assert [one["name"] for one in codec["configuration"]["codecs"]] == ["bytes", "zstd", "crc32c"]
    assert codec["configuration"]["index_codecs"][-1]["name"] == "crc32c"


def test_missing_array_says_so(output: Output) -> None:
    assert not output.has_array("neurons")
    for call in (output.read, output.verify):
        with pytest.raises(OutputError, match="no such array"):
            call("neurons", ONE_BLOCK)


def test_finished_store_is_a_valid_ome_zarr_image_with_labels(output: Output) -> None:
    for spec in (BOUNDARIES, NEURONS):
        fill(output, spec)
        build_pyramid(output, spec.name, spec.kind)
    output.set_attributes({"config": {"seed": 3}})
    group = zarr.open_group(output.path, mode="r")
    image = Image.from_zarr(group)
    (multiscale,) = image.ome_attributes.multiscales
    assert [dataset.path for dataset in multiscale.datasets] == ["0", "1"]
    assert image.labels is not None
    assert image.labels.label_paths == ["neurons"]
    label = ImageLabel.from_zarr(zarr.open_group(output.path / "labels" / "neurons", mode="r"))
    assert label.attributes.ome.image_label is not None
    assert zarr.open_array(output.path / "labels/neurons/1").metadata.dimension_names == tuple(
        "zyx"
    )


def test_finished_store_opens_as_a_volume_and_as_labels(output: Output) -> None:
    maps, neurons = fill(output, BOUNDARIES), fill(output, NEURONS)
    for spec in (BOUNDARIES, NEURONS):
        build_pyramid(output, spec.name, spec.kind)
    volume = open_volume(output.path)
    assert volume.voxel_size_nm == (40, 8, 8)
    assert np.array_equal(volume.read(WHOLE), maps)
    coarse = open_volume(output.path, level=1)
    assert coarse.shape == (20, 75, 70)
    assert coarse.translation_nm == (0, 4, 4)
    found = open_labels(output.path)
    assert found.voxel_size_nm == (40, 8, 8)
    assert np.array_equal(found.labels, neurons)
    assert np.array_equal(read_labels(output.path / "labels" / "neurons"), neurons)
    assert np.array_equal(read_map(output.path), maps.astype(np.float32) / np.float32(255))


def test_unfinished_array_is_in_no_metadata(output: Output) -> None:
    fill(output, BOUNDARIES)
    fill(output, NEURONS)
    labels = output.path / "labels" / "zarr.json"
    assert "multiscales" not in (output.path / "zarr.json").read_text()
    assert "neurons" not in labels.read_text()
    build_pyramid(output, "neurons", "labels")
    assert "neurons" in labels.read_text()
    output.create_array(NEURONS)
    assert "neurons" not in labels.read_text()
    assert not (output.path / "labels" / "neurons" / "1").exists()


def test_neurons_that_are_not_finished_cannot_be_scored(output: Output) -> None:
    with pytest.raises(OutputError, match="no such array"):
        read_labels(output.path)
    output.create_array(NEURONS)
    with pytest.raises(OutputError, match="missing or empty"):
        read_labels(output.path)


def test_removing_boundaries_keeps_the_rest_of_the_store(output: Output) -> None:
    fill(output, BOUNDARIES)
    neurons = fill(output, NEURONS)
    build_pyramid(output, "boundaries", "image")
    output.write_table("nodes", {"id": np.arange(3, dtype=np.uint64)})
    output.remove("boundaries")
    assert not output.has_array("boundaries")
    assert "multiscales" not in (output.path / "zarr.json").read_text()
    assert np.array_equal(Output.open(output.path).read("neurons", WHOLE), neurons)
    assert output.read_table("nodes")["id"].tolist() == [0, 1, 2]


def test_reopened_and_pickled_store_is_the_same(output: Output) -> None:
    assert Output.open(output.path) == output
    assert pickle.loads(pickle.dumps(output)) == output


def test_attributes_are_merged_and_leave_metadata_alone(output: Output) -> None:
    fill(output, BOUNDARIES)
    build_pyramid(output, "boundaries", "image")
    before = json.loads((output.path / "zarr.json").read_text())["attributes"]["ome"]
    output.set_attributes({"config": {"seed": 1}, "user": "a"})
    output.set_attributes({"config": {"seed": 2}})
    assert Output.open(output.path).attributes["config"] == {"seed": 2}
    assert output.attributes["user"] == "a"
    assert json.loads((output.path / "zarr.json").read_text())["attributes"]["ome"] == before


def test_failed_attribute_write_leaves_the_old_ones(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    output.set_attributes({"config": 1})

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        output.set_attributes({"config": 2})
    assert Output.open(output.path).attributes["config"] == 1


def test_existing_data_that_is_not_ours_is_never_removed(tmp_path: Path, geometry: Any) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat").write_text("meow")
    zarr.create_group(tmp_path / "other.zarr")
    for name in ("photos", "other.zarr"):
        with pytest.raises(OutputError, match=r"--overwrite only removes"):
            Output.create(
                tmp_path / name,
                volume=geometry((4, 4, 4)),
                block_shape=(4, 4, 4),
                overwrite=True,
            )
    assert (tmp_path / "photos" / "cat").read_text() == "meow"


def test_our_store_is_removed_only_with_overwrite(output: Output, geometry: Any) -> None:
    fill(output, BOUNDARIES)
    again: dict[str, Any] = {"volume": geometry((4, 4, 4)), "block_shape": (4, 4, 4)}
    with pytest.raises(OutputError, match="holds an earlier run"):
        Output.create(output.path, **again)
    assert output.has_array("boundaries")
    new = Output.create(output.path, **again, overwrite=True)
    assert new.shape == (4, 4, 4)
    assert not new.has_array("boundaries")
    assert [p.name for p in output.path.parent.iterdir()] == [output.path.name]


@pytest.mark.parametrize("where", ["", "s0", "out.zarr", "..", "link"])
def test_output_never_overlaps_the_input(
    write_image: Callable[..., Path], raw: NDArray[Any], tmp_path: Path, where: str
) -> None:
    source = write_image(raw)
    volume = open_volume(source)
    (tmp_path / "link").symlink_to(source)
    target = tmp_path / "link" / "x" if where == "link" else source / where
    before = files_of(tmp_path)
    with pytest.raises(OutputError, match="overlaps the input"):
        Output.create(target, volume=volume, block_shape=(8, 8, 8), overwrite=True)
    assert files_of(tmp_path) == before


def test_overlap_is_found_for_a_level_that_lies_in_a_store_of_ours(output: Output) -> None:
    fill(output, BOUNDARIES)
    build_pyramid(output, "boundaries", "image")
    volume = open_volume(output.path / "1")
    with pytest.raises(OutputError, match="overlaps the input"):
        Output.create(output.path, volume=volume, block_shape=(8, 8, 8), overwrite=True)


def test_open_refuses_what_is_not_a_usable_store(output: Output, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is not an output store"):
        Output.open(tmp_path / "none")
    file = output.path / "zarr.json"
    content = json.loads(file.read_text())
    layout = content["attributes"]["neuron_pipeline"]["layout"]
    layout["shape"] = [1, 2]
    file.write_text(json.dumps(content))
    with pytest.raises(OutputError, match=r"damaged \(shape\)"):
        Output.open(output.path)
    layout["version"] = 99
    file.write_text(json.dumps(content))
    with pytest.raises(OutputError, match="store version 99"):
        Output.open(output.path)
    file.write_text("{")
    with pytest.raises(OutputError, match="damaged metadata"):
        Output.open(output.path)
    assert not is_output(output.path)


def test_two_processes_write_neighbouring_blocks_without_loss(output: Output) -> None:
    output.create_array(NEURONS)
    script = (
        "import sys, numpy as np; from pipeline.store import Output; "
        "from pipeline.grid import blocks; o = Output.open(sys.argv[1]); n = int(sys.argv[2]);"
        "[o.write('neurons', b.write, np.full(b.write.shape, n, np.uint64)) "
        "for i, b in enumerate(blocks(o.shape, o.block_shape)) if i % 2 == n - 1]"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(output.path), n]) for n in ("1", "2")
    ]
    assert [one.wait(60) for one in running] == [0, 0]
    for number, block in enumerate(blocks(output.shape, output.block_shape)):
        assert (output.read("neurons", block.write) == number % 2 + 1).all()


def test_what_a_kill_left_of_a_removal_is_cleared_and_nothing_else(output: Output) -> None:
    output.create_array(ArraySpec("superpixels", "uint64", "labels"))
    output.write_table("nodes", {"size": np.arange(3)})
    before = sorted(output.path.rglob("*"))
    for place in ("", "labels", "labels/superpixels", "graph", "graph/nodes"):
        left = output.path / place / ".0.0f.removed" / "c"
        left.mkdir(parents=True)
        (left / "0").write_bytes(b"voxels")
    output.remove_leftovers()
    assert sorted(output.path.rglob("*")) == before
