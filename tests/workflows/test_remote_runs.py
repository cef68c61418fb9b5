"""Runs on volumes in object stores and on web servers equal those on folders, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from remote_stores import CREDENTIALS, KEY, S3, SECRET, s3_server, web_server
from small_pipeline import SECTIONS_NM, Tissue, assert_same, contents, settings, write_volume

from pipeline.config import PipelineSections, as_yaml
from pipeline.errors import InputError, OutputError, StoreError
from pipeline.store import Place, as_place, parse_storage_options, read_map, remote, stamps
from workflows.attempts import HOPELESS, Attempts
from workflows.cluster import Workplace
from workflows.prepare import Run, prepare, reopen
from workflows.reconstruct import reconstruct
from workflows.results import draw_pictures, print_scores
from workflows.source import Source
from workflows.status import as_json, status

BLOCK = (7, 16, 16)


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    stamps.forget_stamps()
    remote.forget_connections()


@pytest.fixture(scope="module")
def config(models: Any) -> PipelineSections:
    return settings(models.network, models.forests)


@pytest.fixture(scope="module")
def address(server: S3, volume: Path) -> str:
    return server.upload(volume, "tissue")


def place(server: S3, address: str) -> Place:
    return as_place(address, parse_storage_options([f"endpoint_url={server.url}"]))


def prepared(source: Place, config: PipelineSections, output: Path, **choices: Any) -> Run:
    given = Source(source, None, None, None, **choices)
    return prepare(given, config, output, device="cpu", block_shape=BLOCK)


def boundary_map(output: Path) -> NDArray[Any]:
    return read_map(output / "0")


@pytest.mark.slow
def test_a_run_on_an_object_store_is_that_on_a_folder(
    server: S3,
    address: str,
    config: PipelineSections,
    finished: Path,
    tissue: Tissue,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out.neurons.zarr"
    reconstruct(prepared(place(server, address), config, output))
    assert_same(contents(output), contents(finished))
    again = reopen(output)
    stages = status(again)
    assert {one.state for one in stages} == {"done"}
    assert as_json(again, stages)["input"] == address
    assert list(draw_pictures(again).glob("*.png"))
    print_scores(output, write_volume(tmp_path / "truth.zarr", tissue.cells))
    assert "V_rand" in capsys.readouterr().out


def test_an_output_keeps_the_address_but_no_secret(
    server: S3,
    address: str,
    config: PipelineSections,
    finished: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out.neurons.zarr"
    reconstruct(prepared(place(server, address), config, output), until="boundaries")
    np.testing.assert_array_equal(boundary_map(output), boundary_map(finished))
    written = b"".join(f.read_bytes() for f in output.rglob("*") if f.is_file())
    said = "".join(capfd.readouterr())
    for secret in (KEY, SECRET):
        assert secret.encode() not in written
        assert secret not in said
    identity = json.loads((output / "zarr.json").read_text())["attributes"]["neuron_pipeline"]
    assert identity["input"]["path"] == address
    assert identity["input"]["storage"] == {"endpoint_url": server.url}
    states = {one.stage: one.state for one in status(reopen(output))}
    assert (states["boundaries"], states["superpixels"]) == ("done", "missing")


def test_an_output_with_options_of_another_version_is_one_line(
    volume: Path, config: PipelineSections, tmp_path: Path
) -> None:
    run = prepared(volume, config, tmp_path / "out.neurons.zarr")
    kept = {**run.output.attributes["input"], "storage": {"unheard_of": 1}}
    run.output.set_attributes({"input": kept})
    with pytest.raises(OutputError, match="another version of this program; run it again"):
        reopen(run.output.path)
    assert prepared(volume, config, run.output.path).source.path == volume


def test_an_object_written_anew_makes_the_output_stale(
    server: S3, volume: Path, config: PipelineSections, tmp_path: Path
) -> None:
    address = server.upload(volume, "changing")
    output = tmp_path / "out.neurons.zarr"
    reconstruct(prepared(place(server, address), config, output), until="intensity")
    key = f"{volume.name}/0/c/0/0/0"
    server.client.put_object(Bucket="changing", Key=key, Body=(volume / "0/c/0/0/1").read_bytes())
    stamps.forget_stamps()
    first = status(reopen(output))[0]
    assert first.state == "stale"
    assert "raw changed" in first.why


def test_a_store_that_fails_in_the_middle_ends_in_one_line_and_the_run_goes_on_later(
    volume: Path, config: PipelineSections, finished: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.neurons.zarr"
    options = parse_storage_options(["attempts=2", "pause_seconds=0.01"])
    with web_server(volume.parent) as web:
        source = as_place(f"{web.url}/{volume.name}", options)
        run = prepared(source, config, output)
        reconstruct(run, until="intensity")
        web.trouble["/0/c/0/1/1"].extend([503] * 1000)
        with pytest.raises(StoreError, match=r"tasks failed.*/0/c/0/1/1: .*error 503") as caught:
            reconstruct(run, until="boundaries")
        assert "The same command tries them again" in str(caught.value)
        assert "\n" not in str(caught.value)
        web.trouble.clear()
        reconstruct(prepared(source, config, output), until="boundaries")
    np.testing.assert_array_equal(boundary_map(output), boundary_map(finished))


def test_what_is_noted_of_a_failure_holds_no_signature_that_a_server_sent(
    volume: Path, config: PipelineSections, tmp_path: Path
) -> None:
    with web_server(volume.parent) as web:
        run = prepared(as_place(f"{web.url}/{volume.name}"), config, tmp_path / "out.neurons.zarr")
        web.trouble["/0/c/0/1/1"].extend(["/elsewhere?X-Amz-Signature=x1y2"] * 100)
        web.trouble["x1y2"].extend([403] * 100)
        with pytest.raises(InputError, match="access denied") as caught:
            reconstruct(run, until="intensity")
    noted = "".join(run.ledger.failed("intensity", "blocks").values())
    assert "elsewhere" in noted
    assert "x1y2" not in noted + str(caught.value)


def test_a_store_that_answers_no_more_ends_the_run_and_a_few_lost_answers_do_not() -> None:
    error = StoreError("s3://b/v.zarr/c/0/0/0: no answer")

    def tried(lost: Callable[[int], bool]) -> tuple[int, int]:
        book = Attempts(range(100), str)
        count = 0
        while book.unfinished:
            attempt = book.next()
            assert attempt is not None
            count += 1
            if lost(attempt.task):
                book.raised(attempt, error, None)
            else:
                book.succeeded(attempt)
        return count, book.end().untried

    assert tried(lambda task: task >= 20) == (20 + HOPELESS, 80 - HOPELESS)
    assert tried(lambda task: task % 3 > 0) == (100, 0)


def test_a_chosen_channel_is_segmented_like_a_volume_of_its_own(
    tissue: Tissue, config: PipelineSections, finished: Path, tmp_path: Path
) -> None:
    path, output = tmp_path / "a.zarr", tmp_path / "out.neurons.zarr"
    both = np.stack([255 - tissue.raw, tissue.raw]).transpose(0, 3, 2, 1)
    array = zarr.create_array(
        path,
        shape=both.shape,
        dtype="u1",
        chunks=(1, 9, 9, 5),
        dimension_names=("c", "x", "y", "z"),
    )
    array[...] = both

    def run(channel: int | None) -> Run:
        source = Source(path, None, SECTIONS_NM, None, channel=channel)
        return prepare(source, config, output, device="cpu", block_shape=BLOCK)

    with pytest.raises(InputError, match="--channel 0 to 1"):
        run(None)
    reconstruct(run(1), until="boundaries")
    np.testing.assert_array_equal(boundary_map(output), boundary_map(finished))
    states = {one.stage: one.state for one in status(reopen(output))}
    assert states["boundaries"] == "done"
    with pytest.raises(OutputError, match=r"channel 1.*not .*channel 0"):
        run(0)


@pytest.mark.slow
def test_two_workers_and_a_remote_mask_give_the_labels_of_a_run_on_folders(
    server: S3, address: str, config: PipelineSections, volume: Path, tmp_path: Path
) -> None:
    foreground = np.ones((12, 30, 28), dtype=bool)
    foreground[:, :9] = False
    array = zarr.create_array(tmp_path / "m.zarr", shape=(12, 30, 28), dtype="?", chunks=(6, 8, 8))
    array[...] = foreground
    there = place(server, server.upload(tmp_path / "m.zarr", "masks"))
    outputs = tmp_path / "far.neurons.zarr", tmp_path / "near.neurons.zarr"
    run = prepared(place(server, address), config, outputs[0], mask=there)
    reconstruct(run, Workplace(workers=2))
    reconstruct(prepared(volume, config, outputs[1], mask=tmp_path / "m.zarr"))
    assert_same(contents(outputs[0]), contents(outputs[1]))


@pytest.mark.slow
def test_a_killed_command_goes_on(
    server: S3, address: str, config: PipelineSections, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(as_yaml(config))
    output = tmp_path / "v.neurons.zarr"
    command = [sys.executable, "-m", "pipeline", "run", address, "--config", "small.yaml"]
    command += ["--storage-option", f"endpoint_url={server.url}", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )

    first = started()
    marks = output / ".pipeline" / "boundaries.marks" / "blocks"
    deadline = time.monotonic() + 120
    while not marks.exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert {one.state for one in status(reopen(output))} != {"done"}
    again = started()
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert "Traceback" not in said
    assert "Unclosed" not in said
    assert SECRET not in said
    found, expected = contents(output), contents(finished)
    np.testing.assert_array_equal(found["neurons/0"], expected["neurons/0"])
    np.testing.assert_array_equal(found["superpixels/0"], expected["superpixels/0"])
