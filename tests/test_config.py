from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import PipelineConfig, as_yaml, load_config, parse_config
from pipeline.contract import ArraySpec, VolumeInfo
from pipeline.errors import ConfigError
from pipeline.packaged import packaged_presets
from pipeline.registry import GIVEN_VOLUMES, STAGES, columns_before, inputs_of, stage

FLAT = VolumeInfo((20, 400, 400), (50.0, 4.0, 4.0), "uint8")
ISOTROPIC = VolumeInfo((200, 200, 200), (8.0, 8.0, 8.0), "uint8")


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return path


def refused(*args: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(*args)
    return str(caught.value)


def test_an_unknown_key_is_named_with_the_known_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "boundaries:\n  augmentatoin: max\n")
    message = refused(path)
    assert str(path) in message
    assert "unknown key 'boundaries.augmentatoin'" in message
    for known in type(PipelineConfig().section("boundaries")).model_fields:
        assert known in message


def test_an_unknown_stage_is_named_with_the_known_ones(tmp_path: Path) -> None:
    message = refused(write(tmp_path, "boundary: {}\n"))
    assert "unknown key 'boundary'" in message
    for known in STAGES:
        assert known.name in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("boundaries.batch=0", ["boundaries.batch", "0", "greater than or equal to 1"]),
        ("boundaries.batch=257", ["boundaries.batch", "257", "less than or equal to 256"]),
        ("boundaries.augmentation=median", ["boundaries.augmentation", "median", "'max'"]),
        ("boundaries.batch=many", ["boundaries.batch", "many", "integer"]),
        ("boundaries.tile=[1, 0, 64]", ["boundaries.tile", "0", "greater than or equal to 1"]),
        ("intensity.low_percentile=60", ["intensity.low_percentile", "60", "less than 50"]),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key_and_limit(
    override: str, parts: list[str]
) -> None:
    message = refused(None, [override])
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    message = refused(write(tmp_path, "boundaries: {batch: 0, plane: xy}\n"))
    assert "boundaries.batch" in message
    assert "boundaries.plane" in message


@pytest.mark.parametrize(
    "text",
    ["a: [1", "a: b: c", "\t- x", "a: 2024-13-45", "[" * 1500, "a: !!python/object:os.system x"],
    ids=lambda t: t[:20],
)
def test_broken_yaml_is_one_line_with_the_path(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    message = refused(path)
    assert str(path) in message
    assert "broken YAML" in message
    assert "\n" not in message


def test_bytes_that_are_not_text_are_broken_yaml(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00a")
    assert "broken YAML" in refused(path)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "3", "true"])
def test_yaml_without_sections_is_refused(text: str, tmp_path: Path) -> None:
    assert "expected sections" in refused(write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "# nothing\n", "boundaries:\n  # batch: 2\nedges: {}\n"])
def test_what_is_not_said_keeps_its_default(text: str, tmp_path: Path) -> None:
    assert load_config(write(tmp_path, text)) == PipelineConfig()
    assert load_config(None) == PipelineConfig()


@pytest.mark.parametrize("text", ["boundaries: 3\n", "boundaries: [batch]\n", "1: {}\n"])
def test_a_section_that_holds_no_keys_is_refused(text: str, tmp_path: Path) -> None:
    refused(write(tmp_path, text))


def test_a_missing_file_is_named_with_the_presets() -> None:
    message = refused("no_such_preset")
    assert "no_such_preset" in message
    for name in packaged_presets():
        assert name in message


@pytest.mark.parametrize("name", packaged_presets())
def test_packaged_presets_are_valid(name: str) -> None:
    config = load_config(name)
    assert config.resolved(FLAT).resolved(FLAT) == config.resolved(FLAT)


def test_overrides_win_over_the_file_and_the_last_one_wins(tmp_path: Path) -> None:
    path = write(tmp_path, "boundaries: {batch: 2, augmentation: min}\n")
    config: Any = load_config(path, ["boundaries.batch=3", "boundaries.batch=4"])
    assert config.boundaries.batch == 4
    assert config.boundaries.augmentation == "min"


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("boundaries.tile=[1, 64, 128]", "tile", (1, 64, 128)),
        ("boundaries.tile=auto", "tile", "auto"),
        ("boundaries.model=a=b.safetensors", "model", "a=b.safetensors"),
        (" boundaries.model = my.file ", "model", "my.file"),
    ],
)
def test_overrides_are_yaml(override: str, key: str, value: object) -> None:
    assert getattr(load_config(None, [override]).section("boundaries"), key) == value


def test_an_override_fills_an_empty_section(tmp_path: Path) -> None:
    config: Any = load_config(write(tmp_path, "boundaries:\n"), ["boundaries.batch=3"])
    assert config.boundaries.batch == 3


@pytest.mark.parametrize(
    "override",
    ["batch=3", "boundaries.batch", "=", ".=", "boundaries.=3", ".batch=3", "",
     "boundaries.batch=[", "boundaries.batch=2024-13-45"],
)  # fmt: skip
def test_a_malformed_override_is_quoted(override: str) -> None:
    assert f"--set {override!r}" in refused(None, [override])


def test_an_override_of_an_unknown_key_is_refused() -> None:
    assert "unknown key 'boundaries.bach'" in refused(None, ["boundaries.bach=3"])
    assert "unknown key 'bound'" in refused(None, ["bound.batch=3"])


@pytest.mark.parametrize("sentences", [True, False])
@pytest.mark.parametrize("volume", [None, FLAT, ISOTROPIC], ids=["auto", "flat", "isotropic"])
@pytest.mark.parametrize("preset", [None, *packaged_presets()])
def test_what_is_shown_can_be_loaded_again(
    preset: str | None, volume: VolumeInfo | None, sentences: bool, tmp_path: Path
) -> None:
    config = load_config(preset)
    config = config.resolved(volume) if volume else config
    assert load_config(write(tmp_path, as_yaml(config, sentences=sentences))) == config


@given(model=st.text(max_size=30))
def test_any_text_survives_being_shown(model: str) -> None:
    config = parse_config({"boundaries": {"model": model}}, "test")
    shown = yaml.safe_load(as_yaml(config))
    assert shown["boundaries"]["model"] == model


def test_a_long_text_survives_being_shown(tmp_path: Path) -> None:
    config = parse_config({"boundaries": {"model": "a b " * 800 + "..."}}, "test")
    assert load_config(write(tmp_path, as_yaml(config))) == config


def test_every_key_is_shown_with_a_sentence() -> None:
    shown = as_yaml(PipelineConfig(), sentences=True).splitlines()
    for one in STAGES:
        for key, info in one.config.model_fields.items():
            at = next(i for i, line in enumerate(shown) if line.startswith(f"  {key}: "))
            assert shown[at - 1].startswith("  # ")
            assert info.description
            assert info.description.rstrip().endswith(".")


def flat_or_not(config: Any) -> tuple[str, str]:
    return config.boundaries.planes, config.superpixels.mode


@pytest.mark.parametrize(
    ("voxel_size_nm", "expected"),
    [
        ((8, 8, 8), ("three", "3d")),
        ((11.9, 8, 8), ("three", "3d")),
        ((12, 8, 8), ("xy", "3d")),
        ((23.9, 8, 8), ("xy", "3d")),
        ((24, 8, 8), ("xy", "2d")),
        ((24, 9, 8), ("xy", "2d")),
        ((50, 4, 4), ("xy", "2d")),
    ],
)
def test_auto_is_decided_by_how_coarse_z_is(
    voxel_size_nm: tuple[float, float, float], expected: tuple[str, str]
) -> None:
    volume = VolumeInfo((9, 9, 9), voxel_size_nm, "uint8")
    assert flat_or_not(PipelineConfig().resolved(volume)) == expected


@pytest.mark.parametrize("volume", [FLAT, ISOTROPIC], ids=["flat", "isotropic"])
def test_no_auto_remains_and_resolving_twice_changes_nothing(volume: VolumeInfo) -> None:
    resolved = PipelineConfig().resolved(volume)
    for one in STAGES:
        values = resolved.section(one.name).model_dump()
        # Precision and batch are decided by the device that computes, the pixel by the network.
        later = ("precision", "pixel_nm", "batch", "orientations_at_once")
        left = [k for k, v in values.items() if v == "auto" and k not in later]
        assert left == [], one.name
    assert resolved.resolved(volume) == resolved


def test_stages_read_only_what_earlier_ones_write() -> None:
    known = set(GIVEN_VOLUMES)
    for one in STAGES:
        assert set(one.reads) <= known, one.name
        known |= {w.name for w in one.writes}
    assert {"boundaries", "superpixels", "neurons"} <= known


def test_every_column_and_array_has_one_writer() -> None:
    columns = [(t.name, c) for s in STAGES for t in s.tables for c in t.columns]
    arrays = [w.name for s in STAGES for w in s.writes if isinstance(w, ArraySpec)]
    assert len(columns) == len(set(columns))
    assert len(arrays) == len(set(arrays))


def test_registry_finds_stages_and_their_inputs() -> None:
    assert [s.name for s in STAGES] == [
        "intensity", "sections", "foreground", "boundaries", "superpixels", "graph", "features",
        "edges", "lifted", "multicut", "labels",
    ]  # fmt: skip
    assert stage("graph").name == "graph"
    assert [s.name for s in inputs_of(stage("boundaries"))] == ["sections", "foreground"]
    assert inputs_of(STAGES[0]) == ()
    assert "features" in columns_before(stage("edges"), "edges")
    assert "p_cut" not in columns_before(stage("edges"), "edges")
    assert "p_cut" in columns_before(stage("multicut"), "edges")
