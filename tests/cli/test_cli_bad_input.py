"""Bad input: one clear line, exit code 2, and nothing left that looks finished."""

from __future__ import annotations

import errno
import fcntl
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from safetensors.numpy import save_file
from small_pipeline import Tissue, paint_tissue, save_forests, write_volume

from pipeline.store import Output, is_output


@dataclass(frozen=True)
class Place:
    """Where a case makes its files."""

    folder: Path
    volume: Path
    network: Path

    def bare(self, data: NDArray[Any], name: str = "bad.zarr") -> Path:
        """A zarr array without metadata."""
        array = zarr.create_array(self.folder / name, data=data)
        assert array.shape == data.shape
        return self.folder / name

    def file(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name


SIZE = ("--voxel-size", "40,8,8")
GREY = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)


def with_value(value: float) -> NDArray[np.float32]:
    data = GREY.astype(np.float32)
    data[1, 2, 3] = value
    return data


def without_unit(place: Place) -> tuple[Any, ...]:
    path = write_volume(place.folder / "nounit.zarr", GREY, (4e-8, 8e-9, 8e-9))
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace('"unit": "nanometer"', '"unit": "parsec"'))
    return (path,)


def damaged_chunk(place: Place) -> tuple[Any, ...]:
    path = place.folder / "damaged.zarr"
    array = zarr.create_array(
        path,
        shape=GREY.shape,
        dtype="uint8",
        chunks=(2, 8, 8),
        compressors=[zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()],
    )
    array[...] = GREY
    chunk = path / "c/1/0/1"
    data = bytearray(chunk.read_bytes())
    data[30] ^= 1
    chunk.write_bytes(bytes(data))
    return (path, *SIZE)


def truncated(path: Path, target: Path) -> Path:
    target.write_bytes(path.read_bytes()[:-1000])
    return target


def other_architecture(place: Place) -> Path:
    path = place.folder / "other.safetensors"
    header = {
        "format": "neuron-pipeline boundary network 1",
        "network": json.dumps({"architecture": "unet_of_somebody"}),
        "card": json.dumps({"halo_pixels": 8, "stride_pixels": 8}),
    }
    save_file({"w": np.zeros(3, np.float32)}, path, header)
    return path


VOLUMES: dict[str, tuple[Callable[[Place], tuple[Any, ...]], str]] = {
    "missing path": (lambda p: (p.folder / "no.zarr",), r"no\.zarr: does not exist"),
    "a text file": (lambda p: (p.file("a.zarr", "hello"),), r"a\.zarr: is not a zarr"),
    "a folder": (lambda p: (p.folder,), "is not a zarr array or group"),
    "a TIFF": (lambda p: (p.file("a.tif", "II"),), "is a TIFF; first: python -m pipeline import"),
    "two axes": (lambda p: (p.bare(GREY[0]), *SIZE), r"has 2 axes \(16, 16\).*z, y, x"),
    "two channels": (lambda p: (p.bare(np.stack([GREY, GREY])), *SIZE), "which .* channel"),
    "int64": (lambda p: (p.bare(GREY.astype(np.int64)), *SIZE), "dtype int64.*float32.*uint8"),
    "float64": (lambda p: (p.bare(GREY.astype(float)), *SIZE), "dtype float64; convert"),
    "empty": (lambda p: (p.bare(GREY[:0]), *SIZE), r"is empty: shape \(0, 16, 16\)"),
    "constant": (lambda p: (p.bare(np.full_like(GREY, 7)), *SIZE), "constant: every voxel is 7"),
    "NaN": (lambda p: (p.bare(with_value(np.nan)), *SIZE), r"NaN or infinite.*\[1, 2, 3\]"),
    "infinite": (lambda p: (p.bare(with_value(np.inf)), *SIZE), r"infinite.*\[1, 2, 3\]"),
    "no voxel size": (lambda p: (p.bare(GREY),), "--voxel-size Z,Y,X in nm"),
    "unknown unit": (without_unit, "unknown unit.*--voxel-size Z,Y,X in nm"),
    "malformed voxel size": (
        lambda p: (p.volume, "--voxel-size", "40,8"),
        "--voxel-size '40,8': give Z,Y,X in nanometres",
    ),
    "negative voxel size": (
        lambda p: (p.volume, "--voxel-size", "40,8,-8"),
        "--voxel-size '40,8,-8': sizes must lie between",
    ),
    "damaged chunk": (
        damaged_chunk,
        r"stage intensity, blocks: .* 0\.0\.0 .*damaged\.zarr: cannot read voxels",
    ),
    "region outside": (
        lambda p: (p.volume, "--roi", "0:5,0:99,0:9"),
        "z 0:5 y 0:99 x 0:9 is empty or leaves",
    ),
    "malformed region": (lambda p: (p.volume, "--roi", "0:5"), "--roi '0:5': give z0:z1"),
    "no such level": (lambda p: (p.volume, "--level", 3), "has levels 0 to 0, not 3"),
    "mask missing": (lambda p: (p.volume, "--mask", p.folder / "m.zarr"), "m.zarr: does not exist"),
    "mask is no volume": (
        lambda p: (p.volume, "--mask", p.file("m.txt", "1")),
        r"m\.txt: is not a zarr",
    ),
    "mask is no TIFF": (
        lambda p: (p.volume, "--mask", p.file("m.tif", "II")),
        r"m\.tif: cannot be read as a TIFF",
    ),
    "mask of floats": (
        lambda p: (p.volume, "--mask", p.bare(np.ones((5, 24, 22), np.float32))),
        r"a mask holds bool or integers \(0 = background\), not float32",
    ),
    "mask of another shape": (
        lambda p: (p.volume, "--mask", p.bare(np.ones((5, 24, 21), np.uint8))),
        r"the mask has shape \(5, 24, 21\), the volume \(5, 24, 22\); give",
    ),
    "mask of another region": (
        lambda p: (p.volume, "--roi", "0:4,0:20,0:20", "--mask", p.bare(np.ones((5, 20, 20), int))),
        r"the mask has shape \(5, 20, 20\), the volume \(4, 20, 20\) or, uncut, \(5, 24, 22\)",
    ),
    "mask of one section": (
        lambda p: (p.volume, "--mask", p.bare(np.ones((24, 22), np.uint8))),
        r"has 2 axes \(24, 22\)",
    ),
    "mask that hides everything": (
        lambda p: (p.volume, "--mask", p.bare(np.zeros((5, 24, 22), np.uint8))),
        "the mask is 0 everywhere, so all is background",
    ),
    "truth missing": (lambda p: (p.volume, "--truth", p.folder / "t.tif"), "t.tif: does not exist"),
}

SETTINGS: dict[str, tuple[Callable[[Place], tuple[Any, ...]], str]] = {
    "unknown key": (
        lambda p: ("--set", "multicut.betta=0.3"),
        r"unknown key 'multicut\.betta' \(known here: .*beta,",
    ),
    "unknown section": (lambda p: ("--set", "multicat.beta=0.3"), "unknown key 'multicat'"),
    "value out of range": (
        lambda p: ("--set", "multicut.beta=1.5"),
        r"multicut\.beta = 1\.5: .*less than 1",
    ),
    "value of another type": (
        lambda p: ("--set", "superpixels.min_size_voxels=many"),
        r"superpixels\.min_size_voxels = 'many': .*integer",
    ),
    "no value": (lambda p: ("--set", "multicut.beta"), "write it as stage.key=value"),
    "broken YAML": (
        lambda p: ("--config", p.file("b.yaml", "multicut: {beta: 0.3\nedges: [")),
        r"b\.yaml: broken YAML \(.*line 2",
    ),
    "YAML without sections": (lambda p: ("--config", p.file("b.yaml", "- 1")), "expected sections"),
    "no such preset": (lambda p: ("--config", "nothing"), "no preset 'nothing'.*packaged: .*fib"),
    "no such network": (
        lambda p: ("--set", "boundaries.model=nothing"),
        "stage boundaries.*no model 'nothing'|no model 'nothing'",
    ),
    "truncated network": (
        lambda p: ("--set", f"boundaries.model={truncated(p.network, p.folder / 't')}"),
        "stage boundaries: .*/t: damaged model file",
    ),
    "other architecture": (
        lambda p: ("--set", f"boundaries.model={other_architecture(p)}"),
        "unknown architecture 'unet_of_somebody'; known: rc_spcnet",
    ),
    "a network for a forest": (
        lambda p: ("--set", f"edges.forest={p.network}"),
        "stage edges: .*not a forest",
    ),
    "tile of no length": (lambda p: ("--set", "boundaries.tile=[1, 0, 8]"), r"boundaries\.tile"),
    "malformed memory": (lambda p: ("--memory", "lots"), "--memory 'lots': give a size"),
    "too little memory": (lambda p: ("--memory", "10MiB"), "more than the .* of --memory"),
    "two places to work": (
        lambda p: ("--scheduler", "tcp://127.0.0.1:1", "--cluster", p.folder / "c.yaml"),
        "give --scheduler or --cluster, not both",
    ),
    "workers here and elsewhere": (
        lambda p: ("--scheduler", "tcp://127.0.0.1:1", "--workers", "2"),
        "give --workers .* or --scheduler, not both",
    ),
    "memory twice": (
        lambda p: ("--cluster", p.folder / "c.yaml", "--memory", "2GiB"),
        "workers' memory in the --cluster file",
    ),
    "no cluster file": (lambda p: ("--cluster", p.folder / "c.yaml"), r"c\.yaml: no such"),
    "dashboard without workers": (lambda p: ("--dashboard",), "needs dask workers"),
    "report nowhere": (
        lambda p: ("--workers", "2", "--performance-report", p.folder / "no" / "r.html"),
        "--performance-report .*no/r.html: there is no folder",
    ),
    "JSON of a run": (lambda p: ("--json",), "--json goes with --dry-run"),
    "more memory than there is": (
        lambda p: ("--workers", "2", "--memory", "1000TiB"),
        "memory: 2 workers of 1000.0 TiB, this machine has .*: too little",
    ),
    "unknown device": (lambda p: ("--device", "abacus"), "'abacus' is unknown; use auto, cpu"),
}


@pytest.fixture
def place(tmp_path: Path, volume: Path, network: Path) -> Place:
    return Place(tmp_path, volume, network)


def assert_clear(answer: Any, pattern: str, *outputs: Path) -> None:
    """One line, code 2, no output that looks finished."""
    assert answer.code == 2, answer.err
    assert len(answer.errors) == 1
    assert answer.err.splitlines()[-1] == answer.errors[0], "the error is not the last line"
    assert re.search(pattern, answer.errors[0]), answer.errors[0]
    assert len(answer.errors[0]) < 500
    assert "Traceback" not in answer.err
    for output in outputs:
        assert not looks_finished(output)


def looks_finished(output: Path) -> bool:
    """Whether viewers would find an image or labels there."""
    if not is_output(output):
        return False
    root = json.loads((output / "zarr.json").read_text())
    labels = json.loads((output / "labels" / "zarr.json").read_text())
    return "ome" in root["attributes"] or bool(labels["attributes"]["ome"]["labels"])


@pytest.mark.parametrize("case", VOLUMES)
def test_bad_volumes(case: str, call: Any, place: Place, config: Path) -> None:
    arguments, pattern = VOLUMES[case]
    output = place.folder / "out.zarr"
    answer = call("run", *arguments(place), "--config", config, "--output", output)
    assert_clear(answer, pattern, output)


@pytest.mark.parametrize("case", [case for case in VOLUMES if case.startswith("mask")])
def test_a_bad_mask_is_noticed_before_work_starts(
    case: str, call: Any, place: Place, config: Path
) -> None:
    arguments, _ = VOLUMES[case]
    output = place.folder / "out.zarr"
    call("run", *arguments(place), "--config", config, "--output", output)
    assert not output.exists()


@pytest.mark.parametrize("case", ["unknown key", "truncated network", "too little memory"])
def test_a_dry_run_gives_the_same_errors(case: str, call: Any, place: Place, config: Path) -> None:
    make, pattern = SETTINGS[case]
    output = place.folder / "out.zarr"
    arguments = (*make(place), "--config", config, "--output", output, "--dry-run")
    assert_clear(call("run", place.volume, *arguments), pattern)
    assert not output.exists()


def test_a_disk_that_is_far_too_small_is_noticed_before_work_starts(
    call: Any, place: Place, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Full:
        free: int = 100

    monkeypatch.setattr("workflows.checks.psutil.disk_usage", lambda folder: Full())
    for more in ((), ("--dry-run", "--no-calibration")):
        answer = call("run", place.volume, "--config", config, *more)
        assert_clear(answer, r"disk: about .* needed, 100 B free at .*: far too little")
    assert not (place.folder / "v.neurons.zarr").exists()


@pytest.mark.parametrize("case", SETTINGS)
def test_bad_settings_and_models(case: str, call: Any, place: Place, config: Path) -> None:
    make, pattern = SETTINGS[case]
    arguments = make(place)
    if "--config" not in arguments:
        arguments = (*arguments, "--config", config)
    output = place.folder / "out.zarr"
    assert_clear(call("run", place.volume, *arguments, "--output", output), pattern)
    assert not output.exists(), "it was noticed too late"


def test_a_forest_of_other_features_is_refused_before_work_starts(
    call: Any, place: Place, config: Path
) -> None:
    edges, _ = save_forests(place.folder, place.network, paint_tissue((4, 24, 24), 5, 5))
    answer = call(
        "run", place.volume, "--config", config, "--set", f"edges.forest={edges}",
        "--set", "features.sigmas_voxels=[2.0]",
    )  # fmt: skip
    assert_clear(answer, "stage edges: .* features that are not among .*: boundary_gaussian_1/")
    assert not (place.folder / "v.neurons.zarr").exists()


def test_an_output_of_another_input(call: Any, place: Place, config: Path, tissue: Tissue) -> None:
    output = place.folder / "out.zarr"
    common = ("--config", config, "--output", output, "--no-pictures")
    assert call("run", place.volume, *common).code == 0
    other = write_volume(place.folder / "other.zarr", tissue.raw[:, ::-1])
    answer = call("run", other, *common)
    assert_clear(answer, r"out\.zarr belongs to another input: .*v\.zarr.*not .*other\.zarr")
    assert looks_finished(output), "the output of the other input was touched"
    assert call("run", other, *common, "--overwrite").code == 0


def test_an_output_that_is_something_else_is_never_removed(
    call: Any, place: Place, config: Path
) -> None:
    for output in (place.volume, place.volume / "inside.zarr"):
        answer = call("run", place.volume, "--config", config, "--output", output, "--overwrite")
        assert_clear(answer, "overlaps the input")
    letters = place.folder / "letters"
    letters.mkdir()
    (letters / "to_mother.txt").write_text("Dear")
    answer = call("run", place.volume, "--config", config, "--output", letters, "--overwrite")
    assert_clear(answer, "exists and is not an output store of this program")
    assert (letters / "to_mother.txt").read_text() == "Dear"


def test_an_output_in_use_by_another_run(call: Any, place: Place, config: Path) -> None:
    output = place.folder / "v.neurons.zarr"
    assert call("run", place.volume, "--config", config, "--no-pictures").code == 0
    with (output / ".pipeline" / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for extra in ((), ("--overwrite",)):
            answer = call("run", place.volume, "--config", config, *extra)
            assert_clear(answer, r"in use by another run \(process \d+ on ")
    assert call("run", place.volume, "--config", config, "--no-pictures").code == 0


def test_a_finished_block_whose_shard_is_gone(call: Any, place: Place, config: Path) -> None:
    output = place.folder / "v.neurons.zarr"
    assert call("run", place.volume, "--config", config, "--no-pictures").code == 0
    (output / "0/c/0/0/0").unlink()
    answer = call("run", place.volume, "--config", config)
    assert_clear(answer, r"0/c/0/0/0.*Remove .*boundaries\.json to compute the stage again")


def test_a_full_disk(
    call: Any, place: Place, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = place.folder / "v.neurons.zarr"

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Output, "write", full)
    answer = call("run", place.volume, "--config", config)
    assert_clear(answer, r"No space left on device", output)
    monkeypatch.undo()
    monkeypatch.setattr("workflows.provenance.Ledger.mark", full)
    answer = call("run", place.volume, "--config", config)
    assert_clear(answer, "No space left on device", output)


@pytest.mark.parametrize(
    "arguments",
    [("run",), ("run", "a.zarr", "--wrokers", "2"), ("run", "a.zarr", "--workers", "0"), ("rnu",)],
    ids=" ".join,
)
def test_usage_errors_end_with_code_2(call: Any, arguments: tuple[str, ...]) -> None:
    answer = call(*arguments)
    assert answer.code == 2
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (("evaluate", "{volume}", "{folder}/no.tif"), "no.tif: does not exist"),
        (("evaluate", "{volume}", "{small}"), r"small\.zarr: shape \(4, 16, 16\) is not"),
        (("evaluate", "{volume}", "{volume}", "--sections", "3:99"), "there are sections 0:5"),
        (("evaluate", "{volume}", "{volume}", "--sections", "x"), "give z0:z1"),
        (("evaluate", "{folder}", "{volume}"), "is not a zarr"),
        (("status", "{volume}"), "is not an output store of this program"),
        (("status", "{folder}/no.zarr"), "is not an output store of this program"),
        (("import", "{folder}/a.png", "{folder}/b.zarr"), "a.png: does not exist"),
        (("import", "{folder}/a.tif", "{folder}/b.zarr"), "a.tif"),
        (("synth", "{folder}/s", "--shape", "4,x,4"), "give Z,Y,X in voxels"),
        (("show-config", "--config", "nothing"), "no preset 'nothing'"),
        (("show-config", "{folder}/no.zarr"), "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_other_verbs(call: Any, place: Place, arguments: tuple[str, ...], pattern: str) -> None:
    small = place.bare(GREY, "small.zarr")
    filled = [a.format(volume=place.volume, folder=place.folder, small=small) for a in arguments]
    assert_clear(call(*filled), pattern)
    assert not (place.folder / "b.zarr").exists()
