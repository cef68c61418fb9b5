"""From a training to its scores: what was learned from is refused, what was not is scored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from small_pipeline import SECTIONS_NM, settings, write_volume

from pipeline.boundaries.model import load_model
from pipeline.cli import main
from pipeline.config import as_yaml
from pipeline.model_header import read_header
from workflows.training_record import HEADER, read_record

SHAPE = (8, 64, 64)
SMALL_TRAINING = {
    "steps": 2, "batch": 2, "crop": 32, "checkpoint_steps": 2,
    "network": {"stem": 8, "widths": [8, 16], "units": [1] * 6},
}  # fmt: skip


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    assert not ended.value.code


def train(data: Path, output: Path, name: str, sections: tuple[int, int], *more: object) -> Path:
    volume = {
        "name": "fly", "raw": "raw.zarr", "truth": "bodies.tif", "truth_kind": "labels",
        "sections": list(sections),
    }  # fmt: skip
    config = {"name": name, "licence": "none", "volumes": [volume], "training": SMALL_TRAINING}
    path = data / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    run("train", "boundaries", path, "--data", data, "--output", output, "--device", "cpu", *more)
    return output / f"{name}.safetensors"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real volume with its truth."""
    folder = tmp_path_factory.mktemp("data")
    sample = Path(str(resources.files("pipeline") / "data" / "sample"))
    part = tuple(slice(n) for n in SHAPE)
    write_volume(folder / "raw.zarr", tifffile.imread(sample / "raw.tif")[part], SECTIONS_NM)
    tifffile.imwrite(folder / "bodies.tif", tifffile.imread(sample / "bodies.tif")[part])
    return folder


@pytest.fixture(scope="module")
def network(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on sections 0-3."""
    return train(data, tmp_path_factory.mktemp("first"), "first", (0, 4))


@pytest.fixture(scope="module")
def output(data: Path, network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("output") / "out.neurons.zarr"
    config = path.with_name("config.yaml")
    config.write_text(as_yaml(settings(network, tile=(1, 64, 64))))
    run("run", data / "raw.zarr", "--output", path, "--config", config, "--device", "cpu",
        "--no-pictures")  # fmt: skip
    return path


def test_scores_of_the_training_sections_are_refused(
    call: Callable[..., Any], data: Path, output: Path, tmp_path: Path
) -> None:
    answer = call("evaluate", output, data / "bodies.tif", "--json", tmp_path / "s.json")
    assert answer.code == 2
    (error,) = answer.errors
    assert "sections 0:4 (100% of them) are of fly 0:4, from which first.safetensors" in error
    assert "--allow-seen" in error
    assert answer.out == ""
    assert not (tmp_path / "s.json").exists()


def test_scores_of_other_sections_are_given(
    call: Callable[..., Any], data: Path, output: Path, tmp_path: Path
) -> None:
    answer = call(
        "evaluate", output, data / "bodies.tif", "--sections", "4:8", "--json", tmp_path / "s.json"
    )
    assert answer.code == 0
    assert "seen" not in answer.out + answer.err
    found = json.loads((tmp_path / "s.json").read_text())
    assert found["seen_in_training"] == {"seen": [], "unknown": []}


def test_with_leave_all_are_given_and_marked(
    call: Callable[..., Any], data: Path, output: Path, tmp_path: Path
) -> None:
    answer = call(
        "evaluate", output, data / "bodies.tif", "--allow-seen", "--json", tmp_path / "s.json"
    )
    assert answer.code == 0
    assert answer.out.startswith("seen in training: sections 0:4 (100% of them) are of fly 0:4")
    (seen,) = json.loads((tmp_path / "s.json").read_text())["seen_in_training"]["seen"]
    assert (seen["model"], seen["sections"]) == ("first.safetensors", [[0, 4]])


def test_a_map_is_refused_too(call: Callable[..., Any], data: Path, output: Path) -> None:
    answer = call("evaluate", output, data / "bodies.tif", "--map", "--sections", "3:5")
    assert answer.code == 2
    assert "sections 3:4" in answer.errors[0]


def test_a_link_to_an_array_hides_nothing(
    call: Callable[..., Any], data: Path, output: Path, tmp_path: Path
) -> None:
    link = tmp_path / "labels.zarr"
    link.symlink_to(output / "labels" / "neurons" / "0")
    answer = call("evaluate", link, data / "bodies.tif")
    assert answer.code == 2
    assert "first.safetensors learned" in answer.errors[-1]


def test_a_run_with_truth_ends_with_marked_scores(
    call: Callable[..., Any], data: Path, network: Path, output: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(output, tmp_path / "out.neurons.zarr")
    answer = call(
        "run", data / "raw.zarr", "--output", copy, "--config", output.with_name("config.yaml"),
        "--device", "cpu", "--no-pictures", "--truth", data / "bodies.tif",
    )  # fmt: skip
    assert answer.code == 0
    assert answer.out.startswith("seen in training: sections 0:4")


def test_a_bare_prediction_is_scored_with_a_warning(
    call: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.tif"
    shutil.copy(data / "bodies.tif", labels)
    answer = call("evaluate", labels, data / "bodies.tif", "--json", tmp_path / "s.json")
    assert answer.code == 0
    assert "whether it was learned from cannot be told" in answer.err
    unknown = json.loads((tmp_path / "s.json").read_text())["seen_in_training"]["unknown"]
    assert unknown == ["a bare prediction does not say which models made it"]


def test_fine_tuning_keeps_the_record_of_its_base(
    data: Path, network: Path, tmp_path: Path
) -> None:
    tuned = train(data, tmp_path, "second", (6, 8), "--from", network)
    assert [(one.title, one.through) for one in read_record(tuned).learned] == [
        ("fly 6:8", ""),
        ("fly 0:4", "first.safetensors"),
    ]
    assert HEADER not in load_model(tuned).card
    assert set(read_header(tuned)) == {"format", "network", "card", HEADER}


def test_the_training_volume_is_recognised_in_another_format(
    call: Callable[..., Any], data: Path, network: Path, tmp_path: Path
) -> None:
    """Cut, turned, of another dtype and under another name; its truth is but for the shape."""
    raw = tifffile.imread(Path(str(resources.files("pipeline") / "data" / "sample" / "raw.tif")))[
        2:6, :64, :64
    ]
    copy = np.rot90(raw, axes=(1, 2))[:, 3:, :60].astype(np.uint16)
    volume = write_volume(tmp_path / "anything.zarr", copy, SECTIONS_NM)
    truth = tmp_path / "truth.tif"
    tifffile.imwrite(truth, np.ones(copy.shape, np.uint8))
    config = tmp_path / "config.yaml"
    config.write_text(as_yaml(settings(network, tile=(1, 64, 64))))
    output = tmp_path / "o.neurons.zarr"
    run("run", volume, "--output", output, "--config", config, "--device", "cpu", "--no-pictures")
    answer = call("evaluate", output, truth)
    assert answer.code == 2
    assert "sections 0:2 (100% of them) are of fly 0:4" in answer.errors[0]
    assert call("evaluate", output, truth, "--sections", "2:4").code == 0
