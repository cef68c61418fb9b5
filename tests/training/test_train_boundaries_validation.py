"""``train boundaries`` with overrides, held-out sections, other networks and other pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from small_pipeline import SECTIONS_NM, paint_tissue

from pipeline.boundaries.model import load_model
from pipeline.boundaries.networks import NETWORKS
from pipeline.cli import main
from pipeline.errors import ConfigError
from pipeline.training import loop
from pipeline.training.loop import Training
from pipeline.training.validation import Validation, validated
from workflows.overrides import overridden
from workflows.train_boundaries import (
    chosen_volumes,
    load_all,
    read_training,
    split_all,
    train_boundaries,
)

TISSUE = paint_tissue((8, 64, 64), cells=20, z_step=5)
CONFIGS = Path(__file__).parents[2] / "configs" / "train"
SMALL: dict[str, Any] = {
    "name": "small", "licence": "none",
    "training": {
        "steps": 4, "batch": 2, "crop": 32, "checkpoint_steps": 2, "schedule": "plateau",
        "network": {"stem": 8, "widths": [8, 16], "units": [1] * 6},
        "validation": {"share": 0.25, "every_steps": 2},
    },
    "volumes": [
        {"name": "painted", "raw": "raw.tif", "truth": "cells.tif", "truth_kind": "labels",
         "sections": [0, 8], "voxel_size_nm": list(SECTIONS_NM)},
    ],
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "raw.tif", TISSUE.raw)
    tifffile.imwrite(tmp_path / "cells.tif", TISSUE.cells.astype(np.uint16))
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return tmp_path


def train(data: Path, output: Path, *overrides: str) -> Path:
    config = read_training(data / "small.yaml", overrides)
    return train_boundaries(config, data, output, device="cpu")


def test_the_card_tells_what_was_validated_on_and_how_it_went(data: Path, tmp_path: Path) -> None:
    card = load_model(train(data, tmp_path / "out")).card
    found = card["validation"]
    assert found["sections"] == {"painted": [6, 8]}
    assert found["step"] in (2, 4)
    assert found["steps_made"] == 4
    assert found["loss"] >= 0
    assert 0 <= found["v_rand"] <= 1


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_card_tells_of_the_weights_that_the_file_holds(
    keep: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_at = {1: (0.4, 0.7), 2: (0.1, 0.9), 3: (0.2, 0.8), 4: (0.3, 0.6)}
    validations = iter(Validation(*values) for values in found_at.values())
    monkeypatch.setattr(loop, "validated", lambda *_: next(validations))
    path = train(
        data, tmp_path / "out", "training.validation.every_steps=1",
        f"training.validation.keep={keep}",
    )  # fmt: skip
    card = load_model(path).card
    found = card["validation"]
    assert found["weights"] == keep
    assert found["step"] == (2 if keep == "best" else 4)
    assert (found["loss"], found["v_rand"]) == found_at[found["step"]]
    assert found["best_step"] == 2
    assert card["steps_made"] == found["steps_made"] == 4
    assert card["arithmetic"] == "float32"


def test_after_mixing_with_the_base_the_card_tells_how_the_mixed_weights_do(
    data: Path, tmp_path: Path
) -> None:
    base = train(data, tmp_path / "base")
    config = read_training(
        data / "small.yaml", ["base_share=0.75", "training.learning_rate=0.3", "name=tuned"]
    )
    path = train_boundaries(config, data, tmp_path / "out", start=base, device="cpu")
    card = load_model(path).card
    assert card["base_share"] == 0.75
    assert card["started_from"] == "small.safetensors"
    assert card["base"]["card"]["steps_made"] == 4
    found = card["validation"]["after_mixing"]
    held = training_of(path, data).held_out
    expected = validated(load_model(path).network, held, config.training, "cpu")
    assert found["loss"] == pytest.approx(expected.loss, rel=1e-2)  # the file is float16
    assert found["loss"] != card["validation"]["loss"]


def training_of(path: Path, data: Path) -> Training:
    """The finished training of a folder."""
    config = read_training(path.parent / "training.yaml")
    chosen = chosen_volumes(config, data)
    volumes, held = split_all(load_all(chosen, data)[0], chosen, config.training)
    return Training(volumes, config.training, path.parent / "checkpoint.pt", held_out=held)


def test_validations_go_to_tensorboard(data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = train(data, tmp_path / "out")
    events = EventAccumulator(str(path.parent / "tensorboard"))
    events.Reload()
    assert {"validation/loss", "validation/v_rand"} <= set(events.Tags()["scalars"])
    steps = [event.step for event in events.Scalars("validation/loss")]
    assert steps == [2, 4]


def test_named_sections_go_before_the_share(data: Path, tmp_path: Path) -> None:
    values = {**SMALL["volumes"][0], "validation_sections": [0, 1]}
    (data / "small.yaml").write_text(yaml.safe_dump({**SMALL, "volumes": [values]}))
    card = load_model(train(data, tmp_path / "out")).card
    assert card["validation"]["sections"] == {"painted": [0, 1]}


def test_without_validation_the_card_says_none(data: Path, tmp_path: Path) -> None:
    path = train(data, tmp_path / "out", "training.validation.share=0", "training.schedule=cosine")
    assert load_model(path).card["validation"] is None


@pytest.mark.parametrize(
    ("network", "context"),
    [
        ("{architecture: rcnet, stem: 8, widths: [8, 16], units: [1, 1, 1, 1, 1, 1]}", 0),
        ("{architecture: u_net, width: 8, depth: 2}", 0),
        ("{architecture: hybrid_u_net, width: 8, depth: 2, context_sections: 1}", 1),
    ],
)
def test_every_network_is_trained_by_the_same_file(
    network: str, context: int, data: Path, tmp_path: Path
) -> None:
    model = load_model(train(data, tmp_path / "out", f"training.network={network}"))
    assert model.shape["architecture"] == yaml.safe_load(network)["architecture"]
    assert model.context_sections == context
    assert model.card["context_sections"] == context
    assert model.stride == model.card["stride_pixels"]
    kept = read_training(tmp_path / "out" / "training.yaml").training.network
    assert kept.model_dump(mode="json") == model.shape


def test_a_refused_configuration_leaves_the_folder_as_it_was(data: Path, tmp_path: Path) -> None:
    path = train(data, tmp_path / "out")
    before = {p.name: p.read_bytes() for p in path.parent.iterdir() if p.is_file()}
    with pytest.raises(ConfigError, match="made with another configuration"):
        train(data, tmp_path / "out", "training.steps=3")
    assert {p.name: p.read_bytes() for p in path.parent.iterdir() if p.is_file()} == before


def test_pixels_of_another_size_are_stated_in_the_card(data: Path, tmp_path: Path) -> None:
    path = train(
        data, tmp_path / "out", "training.pixel_nm=10", "training.augmentation.scale=[0.5, 2]"
    )
    card = load_model(path).card
    assert card["pixel_nm"] == 10
    assert card["voxel_size_nm_range"] == [5, 20]


def test_a_folder_of_before_validation_goes_on(data: Path, tmp_path: Path) -> None:
    """Keys that volumes have got since are not missed in the note of an older training."""
    path = train(data, tmp_path / "out")
    note = path.parent / "data.json"
    began = json.loads(note.read_text())
    for volume in began["volumes"]:
        del volume["validation_sections"]
    note.write_text(json.dumps(began))
    path.unlink()
    assert train(data, tmp_path / "out").exists()
    began["volumes"][0]["weight"] = 3.0
    note.write_text(json.dumps(began))
    with pytest.raises(ConfigError, match="holds a training on other data"):
        train(data, tmp_path / "out")


def test_set_overrides_keys_on_the_command_line(data: Path, tmp_path: Path) -> None:
    options = ["--set", "name=other", "--set", "training.loss=mse", "--set", "training.steps=2"]
    with pytest.raises(SystemExit) as ended:
        main(
            ["train", "boundaries", str(data / "small.yaml"), "--data", str(data), "--output",
             str(tmp_path / "out"), "--device", "cpu", *options]
        )  # fmt: skip
    assert ended.value.code == 0
    card = json.loads((tmp_path / "out" / "other.json").read_text())
    assert card["training"]["loss"] == "mse"
    assert card["training"]["steps"] == 2
    assert card["training"]["batch"] == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.steps", "write it as training.steps=500"),
        ("training..steps=3", "write it as training.steps=500"),
        ("=3", "write it as training.steps=500"),
        ("training.steps=[", "the value is not YAML"),
        ("name.first=a", "there are no keys below 'small'"),
        ("training.stepz=3", "training.stepz = 3: Extra inputs are not permitted"),
        ("training.network.architecture=[rcnet]", "Input tag '['rcnet']'"),
        ("training.network={shape: paper, architecture: [rcnet]}", "Input tag '['rcnet']'"),
        ("training.network={shape: paper, architecture: vgg}", "Input tag 'vgg'"),
        ("training.network.shape=wide", "shape may be 'small', or 'paper'"),
        ("training.crop=36", "multiple of 8"),
    ],
)
def test_a_wrong_override_is_one_line(override: str, said: str, data: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_training(data / "small.yaml", [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    values = {"a": {"b": {"c": 1, "d": 2}}, "e": None}
    found = overridden(values, ["a.b.c=3", "e.f=[1, x]", "a.b={g: 4}", "a.b.h=5"])
    assert found == {"a": {"b": {"g": 4, "h": 5}}, "e": {"f": [1, "x"]}}
    assert values == {"a": {"b": {"c": 1, "d": 2}}, "e": None}


def test_the_papers_recipe_states_the_papers_numbers() -> None:
    training = read_training(CONFIGS / "rc_spcnet_isbi2012.yaml").training
    assert (training.loss, training.optimiser, training.learning_rate) == ("mse", "adam", 1e-4)
    assert (training.batch, training.crop, training.boundary_weight) == (2, 512, 1)
    assert training.steps == 50 * training.validation.every_steps
    assert training.validation.every_steps * training.batch == 9000 * 7 // 10
    assert (training.schedule, training.plateau_factor) == ("plateau", 0.7)
    assert (training.plateau_patience, training.validation.patience) == (3, 5)
    augmentation = training.augmentation
    assert (augmentation.elastic_alpha, augmentation.elastic_sigma) == (2500, 50)
    assert augmentation.quarter_turns
    assert augmentation.scale == (1, 1)


@pytest.mark.parametrize("name", [n for n, network in NETWORKS.items() if network.paper])
@pytest.mark.parametrize("file", ["rc_spcnet_isbi2012.yaml", "rc_spcnet_isbi2012_better.yaml"])
def test_one_override_takes_another_network_in_its_papers_shape(file: str, name: str) -> None:
    config = read_training(CONFIGS / file, [f"training.network.architecture={name}"])
    assert config.training.network == NETWORKS[name].paper
    assert all(v.sections == (0, 14) for v in config.volumes)


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_the_number_of_skips_is_one_more_override(skips: int) -> None:
    config = read_training(
        CONFIGS / "rc_spcnet_isbi2012.yaml", [f"training.network.context_skips={skips}"]
    )
    assert config.training.network.model_dump()["context_skips"] == skips
    paper = NETWORKS["rc_spcnet"].paper
    assert paper is not None
    same = {"context_skips": 2}
    assert config.training.network.model_copy(update=same) == paper.model_copy(update=same)
