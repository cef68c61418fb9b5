"""``reproduce``: data found or fetched, segmented, scored, compared; killed, it goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from remote_stores import Web, web_server
from small_pipeline import SECTIONS_NM, Tissue

from pipeline.cli import main
from pipeline.errors import LeakageError
from pipeline.packaged import packaged_sample
from workflows import fetching
from workflows import reproduce as steps

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Small:
    """A reproduction of a painted tissue: its file, its data, where it works."""

    yaml: Path
    data: Path
    output: Path

    @property
    def expected(self) -> Path:
        return self.yaml.with_suffix(".expected.json")

    @property
    def report(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(
            (self.output / "painted" / "full" / "report.json").read_text()
        )
        return content

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (self.yaml, "--output", self.output)

    def change_expected(self, score: str, by: float) -> None:
        content = json.loads(self.expected.read_text())
        content["forms"]["full"]["scores"][score] += by
        self.expected.write_text(json.dumps(content))


def write_tiff(path: Path, stack: np.ndarray) -> None:
    tifffile.imwrite(path, stack, photometric="minisblack", compression="zlib")


def write_reproduction(path: Path, config: Path, **changes: Any) -> Path:
    values = {
        "name": "painted",
        "title": "painted tissue",
        "seen": "Nothing was learned.",
        "terms": "None.",
        "cite": "Nobody.",
        "voxel_size_nm": list(SECTIONS_NM),
        "raw": {"found_as": ["raw.tif", "tissue.zip//raw.tif"]},
        "truths": {
            "cells": {
                "found_as": ["cells.tif", "tissue.zip//cells.tif"],
                "kind": "labels",
                "scores": ["arand_error", "voi_split"],
            }
        },
        "forms": {"full": {"sections": [1, 5]}, "quick": {"sections": [1, 3]}},
        "config": str(config),
        "tolerances": {"arand_error": 0.01, "voi_split": 0.05},
        **changes,
    }
    path.write_text(yaml.safe_dump(values))
    return path


def write_small(folder: Path, tissue: Tissue, config: Path) -> Small:
    data = folder / "data"
    data.mkdir(parents=True)
    write_tiff(data / "raw.tif", tissue.raw)
    write_tiff(data / "cells.tif", tissue.cells.astype(np.uint16))
    return Small(write_reproduction(folder / "painted.yaml", config), data, folder / "out")


@pytest.fixture
def small(tissue: Tissue, config: Path, tmp_path: Path) -> Small:
    """Nothing was recorded of it."""
    return write_small(tmp_path, tissue, config)


@pytest.fixture(scope="session")
def finished(tissue: Tissue, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Recorded, with all that was made; tests leave it as it is but for its report."""
    made = write_small(tmp_path_factory.mktemp("finished"), tissue, config)
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", *map(str, made.arguments), "--data", str(made.data), "--record"])
    assert not ended.value.code
    return made


@pytest.fixture
def recorded(finished: Small, small: Small) -> Small:
    """Recorded, and nothing made yet."""
    shutil.copy(finished.expected, small.expected)
    return small


def test_a_recorded_result_is_had_again(call: Any, recorded: Small) -> None:
    answer = call("reproduce", *recorded.arguments, "--data", recorded.data)
    assert answer.code == 0, answer.err
    lines = [line.split(" | ") for line in answer.out.splitlines() if line.startswith("| cells")]
    assert [(row[1], row[3], row[5]) for row in lines] == [
        ("arand_error", "±0.01", "yes |"),
        ("voi_split", "±0.05", "yes |"),
    ]
    assert all(row[2] == row[4] for row in lines)
    steps_told = [line[:5] for line in answer.err.splitlines() if "/7]" in line[:5]]
    assert steps_told == [f"[{n}/7]" for n in range(1, 8)]
    assert answer.err.splitlines()[-1] == "painted: reproduced"
    assert recorded.report["verdict"] == "reproduced"
    markdown = recorded.output / "painted" / "full" / "report.md"
    assert markdown.read_text() == answer.out


def test_the_scores_are_those_of_evaluate(call: Any, finished: Small, tmp_path: Path) -> None:
    folder = finished.output / "painted" / "full"
    scores = tmp_path / "scores.json"
    call("evaluate", folder / "neurons.zarr", folder / "cells.zarr", "--json", scores)
    volume = json.loads(scores.read_text())["volume"]
    measured = {row["score"]: row["measured"] for row in finished.report["rows"]}
    assert measured == {"arand_error": volume["arand_error"], "voi_split": volume["voi_split"]}


def test_a_score_outside_its_tolerance_is_named_and_ends_with_1(
    call: Any, finished: Small, recorded: Small
) -> None:
    recorded.change_expected("cells/voi_split", 0.06)
    made = ("--data", finished.data, "--output", finished.output)
    answer = call("reproduce", recorded.yaml, *made)
    assert answer.code == 1
    (line,) = [line for line in answer.err.splitlines() if line.startswith("cells voi_split is")]
    assert line.endswith("± 0.05")
    assert answer.out.count("| **no** |") == 1
    assert finished.report["verdict"] == "differs"


def test_other_voxels_are_refused_before_anything_runs(call: Any, recorded: Small) -> None:
    stack = tifffile.imread(recorded.data / "raw.tif")
    stack[3, 2, 2] ^= 1
    write_tiff(recorded.data / "raw.tif", stack)
    answer = call("reproduce", *recorded.arguments, "--data", recorded.data)
    assert answer.code == 2
    assert "raw hold other voxels than the expected scores were measured on" in answer.errors[0]
    assert not list(recorded.output.glob("*/*/neurons.zarr"))


def test_the_data_are_not_touched(finished: Small) -> None:
    assert sorted(p.name for p in finished.data.iterdir()) == ["cells.tif", "raw.tif"]


def test_what_was_done_is_not_done_again(call: Any, finished: Small) -> None:
    began = time.time_ns()
    answer = call("reproduce", *finished.arguments, "--data", finished.data)
    assert answer.code == 0
    chunks = [
        p for p in finished.output.rglob("neurons.zarr/**/*") if "c" in p.parts and p.is_file()
    ]
    assert chunks
    assert [p for p in chunks if p.stat().st_mtime_ns > began] == []


def test_an_interrupted_one_goes_on(
    call: Any, recorded: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = steps.reconstruct

    def interrupted(run: Any, workplace: Any) -> None:
        whole(run, workplace, until="superpixels")
        raise KeyboardInterrupt

    arguments = (*recorded.arguments, "--data", recorded.data)
    monkeypatch.setattr(steps, "reconstruct", interrupted)
    answer = call("reproduce", *arguments)
    assert answer.code == 130
    assert "the same command goes on" in answer.err
    monkeypatch.setattr(steps, "reconstruct", whole)
    answer = call("reproduce", *arguments)
    assert answer.code == 0, answer.err
    assert "[4/11] boundaries" not in answer.err
    assert answer.out.count("| yes |") == 2


def test_a_file_without_expected_scores_gives_no_verdict(call: Any, small: Small) -> None:
    answer = call("reproduce", *small.arguments, "--data", small.data, "--quick")
    assert answer.code == 0
    assert "no verdict" in answer.err
    assert "Nothing was recorded" in answer.out


def test_what_was_learned_from_is_refused_or_marked(
    call: Any, finished: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(raw: np.ndarray, models: Any, *, what: str, allow: bool, first: int) -> tuple[str]:
        assert (raw.shape, first, what) == ((4, 24, 22), 1, "painted")
        assert len(models) == 1
        if not allow:
            raise LeakageError(f"{what}: sections 1-2 were learned from")
        return ("sections 1-2 were learned from",)

    monkeypatch.setattr(steps, "require_unseen", seen)
    answer = call("reproduce", *finished.arguments, "--data", finished.data)
    assert answer.code == 2
    assert "sections 1-2 were learned from" in answer.errors[0]
    answer = call("reproduce", *finished.arguments, "--data", finished.data, "--allow-seen")
    assert answer.code == 0
    assert "- **seen in training**: sections 1-2 were learned from" in answer.out


@pytest.fixture
def web(recorded: Small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Web]:
    """Serves an archive of the data; the reproduction says where."""
    monkeypatch.setattr(fetching, "SCHEMES", ("http",))
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "tissue.zip", "w") as archive:
        for file in recorded.data.iterdir():
            archive.write(file, f"challenge/{file.name}")
    with web_server(served) as server:
        values = yaml.safe_load(recorded.yaml.read_text())
        values["downloads"] = [
            {"url": f"{server.url}/tissue.zip", "file": "tissue.zip", "source": "here"}
        ]
        recorded.yaml.write_text(yaml.safe_dump(values))
        yield server


def test_data_are_fetched_once_and_only_when_wanted(
    call: Any, recorded: Small, web: Web, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    arguments = (*recorded.arguments, "--cache", cache)
    answer = call("reproduce", *arguments)
    assert answer.code == 2
    assert "--yes" in answer.errors[0]
    assert f"{web.url}/tissue.zip (" in answer.err
    assert "KiB" in answer.err
    assert "Terms: None." in answer.err
    assert not cache.exists()
    assert [method for method, _ in web.asked] == ["HEAD"]
    web.trouble["tissue.zip"].extend([None, "cut"])
    answer = call("reproduce", *arguments, "--yes")
    assert answer.code == 0, answer.err
    assert answer.out.count("| yes |") == 2
    asked = len(web.asked)
    assert call("reproduce", *arguments).code == 0
    assert len(web.asked) == asked
    assert sorted(p.name for p in (cache / "painted").iterdir()) == ["tissue.zip"]


def test_a_server_without_the_file_ends_with_one_line(
    call: Any, recorded: Small, web: Web, tmp_path: Path
) -> None:
    (web.folder / "tissue.zip").unlink()
    answer = call("reproduce", *recorded.arguments, "--cache", tmp_path / "cache", "--yes")
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert "404" in answer.errors[0]
    assert not (tmp_path / "cache" / "painted" / "tissue.zip").exists()


def test_users_never_fetch_by_http(call: Any, small: Small, tmp_path: Path) -> None:
    values = yaml.safe_load(small.yaml.read_text())
    values["downloads"] = [{"url": "http://localhost/a.zip", "file": "a.zip", "source": "x"}]
    small.yaml.write_text(yaml.safe_dump(values))
    answer = call("reproduce", *small.arguments, "--cache", tmp_path / "cache", "--yes")
    assert answer.code == 2
    assert "only https" in answer.errors[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "no reproduction 'nothing': neither a file nor a packaged reproduction"),
        (("sample", "--data", "nowhere"), "--data nowhere: there is no such folder"),
        (("sample", "--train"), "sample has no part to learn from"),
        (("isbi2012", "--data", "."), "holds not the data of isbi2012"),
    ],
)
def test_bad_input_is_one_line(
    call: Any,
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call("reproduce", *arguments)
    assert answer.code == 2
    assert message in answer.errors[0]
    assert list(tmp_path.iterdir()) == []


def test_without_a_name_all_are_listed(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for arguments in ((), ("--list",)):
        answer = call("reproduce", *arguments)
        assert answer.code == 0
        for name in ("sample", "isbi2012", "fib25", "snemi3d", "186 MiB", "nothing"):
            assert name in answer.out


@pytest.mark.slow
def test_a_network_is_trained_on_the_learning_part(call: Any, small: Small, config: Path) -> None:
    learning = {"truth": "cells", "extent": {"sections": [0, 1]}, "steps": 1, "quick_steps": 1}
    write_reproduction(small.yaml, config, learning=learning)
    answer = call("reproduce", *small.arguments, "--data", small.data, "--record")
    assert answer.code == 0, answer.err
    arguments = (*small.arguments, "--data", small.data, "--train", "--device", "cpu")
    answer = call("reproduce", *arguments)
    assert answer.code == 0, answer.err
    assert "the network was trained just now" in answer.out.lower()
    folder = small.output / "painted" / "full-trained"
    report = json.loads((folder / "report.json").read_text())
    assert "painted-trained.safetensors" in report["models"]
    assert {row["ok"] for row in report["rows"]} == {"no verdict"}


CORNER = {
    "name": "corner",
    "title": "a corner of the sample",
    "packaged": True,
    "voxel_size_nm": [8, 8, 8],
    "raw": {"found_as": ["raw.tif"]},
    "truths": {"bodies": {"found_as": ["bodies.tif"], "kind": "labels", "scores": ["arand_error"]}},
    "forms": {"full": {"sections": [20, 26], "region": [60, 108, 60, 108]}},
    "tolerances": {"arand_error": 1e-9},
}


def test_the_shipped_models_on_a_corner_of_the_sample(call: Any, tmp_path: Path) -> None:
    config = tmp_path / "single_pass.yaml"
    config.write_text("boundaries: {augmentation: none, planes: xy}")
    path = write_reproduction(tmp_path / "corner.yaml", config, **CORNER)
    for output, how in (("first", ("--record",)), ("again", ())):
        answer = call("reproduce", path, "--output", tmp_path / output, "--device", "cpu", *how)
        assert answer.code == 0, answer.err
    assert answer.out.count("| yes |") == 1
    models = json.loads((tmp_path / "again/corner/full/report.json").read_text())["models"]
    assert set(models) == {
        "default.safetensors",
        "edges-isotropic.safetensors",
        "lifted-isotropic.safetensors",
    }


@pytest.mark.parametrize("form", [("--quick",), pytest.param((), marks=pytest.mark.slow)])
def test_the_sample_is_reproduced(call: Any, tmp_path: Path, form: tuple[str, ...]) -> None:
    answer = call("reproduce", "sample", *form, "--output", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert answer.out.count("| yes |") == 4


@pytest.mark.slow
def test_killed_anywhere_the_same_command_goes_on(recorded: Small) -> None:
    command = [sys.executable, "-m", "pipeline", "reproduce", str(recorded.yaml)]
    command += ["--data", str(recorded.data), "--output", str(recorded.output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    for wait in ("[2/7]", "[4/11]", "[8/11]"):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(wait):
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "[4/11] boundaries" not in done.stderr
    assert done.stdout.count("| yes |") == 2


def test_the_sample_lies_where_the_reproduction_looks() -> None:
    assert sorted(p.name for p in packaged_sample().glob("*.tif")) == ["bodies.tif", "raw.tif"]
