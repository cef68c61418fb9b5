"""``run`` on addresses: where its output goes, which options there are, and one line otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from remote_stores import Web, web_server

from pipeline.store import remote, stamps

QUICK = ("--storage-option", "attempts=2", "--storage-option", "pause_seconds=0.01")
Call = Callable[..., Any]


@pytest.fixture
def web(volume: Path) -> Iterator[Web]:
    stamps.forget_stamps()
    remote.forget_connections()
    with web_server(volume.parent) as running:
        yield running


def test_a_dry_run_on_an_address_puts_the_output_into_the_current_folder(
    call: Call, web: Web, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    arguments = ("run", f"{web.url}/v.zarr", "--config", config, "--dry-run", "--no-calibration")
    answer = call(*arguments, "--json")
    assert answer.code == 0, answer.err
    assert f"{web.url}/v.zarr: 5 x 24 x 22 uint8" in answer.err
    assert f"permission: {tmp_path / 'here'} can be written" in [
        one["text"] for one in json.loads(answer.out)["findings"]
    ]
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--output", "s3://bucket/out.zarr"), "a run writes to a folder of this machine"),
        (("--storage-option", "secret=x1y2"), "Keys and tokens are taken from the environment"),
        (("--storage-option", "region=x"), "does not know it"),
        (("--channel", "0"), "no axis of channels"),
        (("--mask", "https://me:x1y2@host/m.zarr"), "user name or password"),
    ],
)
def test_what_cannot_be_is_one_line(
    call: Call, web: Web, config: Path, arguments: tuple[str, ...], says: str
) -> None:
    answer = call("run", f"{web.url}/v.zarr", "--config", config, "--dry-run", *arguments)
    assert answer.code == 2
    assert says in answer.err
    assert answer.err.count("\n") == 1
    assert "x1y2" not in answer.err


def test_storage_options_go_with_addresses_only(call: Call, volume: Path) -> None:
    answer = call("run", volume, "--storage-option", "anon=true", "--dry-run")
    assert answer.code == 2
    assert "goes with an address" in answer.err


def test_a_store_that_does_not_answer_ends_with_one_line_after_the_attempts(
    call: Call, web: Web, config: Path
) -> None:
    web.trouble["zarr.json"].extend([503] * 100)
    answer = call("run", f"{web.url}/v.zarr", "--config", config, *QUICK)
    lines = answer.err.splitlines()
    assert answer.code == 2
    assert len(lines) == 2
    assert "attempt 2 of 2" in lines[0]
    assert lines[1].startswith(f"error: {web.url}/v.zarr/zarr.json: the store answers")


def test_channels_are_asked_for_and_chosen(call: Call, config: Path, tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "c.zarr", shape=(2, 5, 24, 22), dtype="u1", chunks=(1, 5, 9, 9)
    )
    array[...] = np.random.default_rng(0).integers(0, 255, array.shape)
    common = ("run", tmp_path / "c.zarr", "--voxel-size", "40,8,8", "--config", config, "--dry-run",
              "--no-calibration")  # fmt: skip
    answer = call(*common)
    assert answer.code == 2
    assert "which time point or channel is meant? Give --channel 0 to 1" in answer.err
    assert call(*common, "--channel", 1).code == 0
    shown = call("show-config", tmp_path / "c.zarr", "--voxel-size", "40,8,8", "--channel", 1)
    assert (shown.code, "mode: 2d" in shown.out) == (0, True)


def test_show_config_decides_for_an_address(call: Call, web: Web) -> None:
    answer = call("show-config", f"{web.url}/v.zarr")
    assert answer.code == 0, answer.err
    assert "mode: 2d" in answer.out
