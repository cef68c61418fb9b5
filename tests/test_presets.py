"""Every packaged preset fits the volumes that it is made for."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.cli.options import Config
from pipeline.config import PipelineConfig, load_config
from pipeline.contract import VolumeInfo
from pipeline.packaged import model_path, packaged_presets

SHAPES_AND_SIZES = {
    "isbi2012": ((30, 512, 512), (50.0, 4.0, 4.0)),
    "snemi3d": ((100, 1024, 1024), (30.0, 6.0, 6.0)),
    "cremi": ((125, 1250, 1250), (40.0, 4.0, 4.0)),
    "piriform": ((168, 255, 255), (40.0, 7.0, 7.0)),
    "atum_sem": ((178, 4300, 3800), (50.0, 4.0, 4.0)),
    "fib_sem": ((500, 500, 500), (8.0, 8.0, 8.0)),
}
VOLUMES = {name: VolumeInfo(*place, "uint8") for name, place in SHAPES_AND_SIZES.items()}


def test_every_preset_has_a_volume_here() -> None:
    assert set(packaged_presets()) == set(VOLUMES)


@pytest.mark.parametrize("name", VOLUMES)
def test_a_preset_treats_its_volume_as_run_without_a_preset_does(name: str) -> None:
    volume = VOLUMES[name]
    preset: Any = load_config(name).resolved(volume)
    default: Any = PipelineConfig().resolved(volume)
    assert preset.boundaries == default.boundaries
    assert preset.features == default.features
    assert preset.superpixels.mode == default.superpixels.mode
    assert preset.superpixels.threshold == default.superpixels.threshold
    assert preset.edges == default.edges
    assert preset.multicut.length_weighting == default.multicut.length_weighting


@pytest.mark.parametrize("name", VOLUMES)
def test_models_of_a_preset_are_packaged(name: str) -> None:
    config: Any = load_config(name)
    for model in (config.boundaries.model, config.edges.forest, config.lifted.forest):
        assert model_path(model).is_file()


def test_the_command_line_names_every_preset() -> None:
    (option,) = Config.__metadata__
    for name in VOLUMES:
        assert name in option.help
