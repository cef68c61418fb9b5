"""Fine-tuning from paths on the command line: configuration, model, card, what is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from small_pipeline import SECTIONS_NM, paint_tissue, save_dark_network, write_volume

from pipeline.boundaries.model import load_model, save_model
from pipeline.boundaries.networks import NETWORKS
from pipeline.boundaries.networks.rc_spcnet import RCSPCNet, RCSPCNetConfig
from pipeline.cli import main
from pipeline.errors import ConfigError, ModelError
from pipeline.training import loop
from pipeline.training.crops import draw
from pipeline.training.mixing import mixed
from workflows.fine_tuning import (
    BASE_SHARE,
    FINE_TUNING,
    FROM_SCRATCH,
    begun,
    boundary_training,
    with_steps_for,
)
from workflows.given_annotations import Annotation, paired, parse_sections, volumes_of
from workflows.held_back import as_sentence, score_held_back
from workflows.train_boundaries import read_training, train_boundaries
from workflows.training_data import AnnotatedVolume, HeldBack, load

TISSUE = paint_tissue((8, 64, 256), cells=60, z_step=5)
NETWORK = RCSPCNetConfig(stem=8, widths=(8, 16), units=(1,) * 6)
CARD = {
    "name": "base", "halo_pixels": 8, "stride_pixels": 8, "voxel_size_nm_range": [4.0, 10.0],
    "licence": "for nobody", "data": [{"name": "elsewhere", "sections": [0, 9]}], "base": None,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _small_crops() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for defaults in (FINE_TUNING, FROM_SCRATCH):
            patch.setitem(defaults, "crop", 32)
            patch.setitem(defaults, "batch", 2)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_volume(folder / "raw.zarr", TISSUE.raw, SECTIONS_NM)
    write_volume(folder / "coarse.zarr", TISSUE.raw, (80.0, 20.0, 20.0))
    cells = (TISSUE.cells > 0).astype(np.uint8)
    cells[[0, 6, 7]] = 0  # never annotated
    tifffile.imwrite(folder / "cells.tif", cells)
    torch.manual_seed(0)
    network = RCSPCNet(NETWORK).eval()
    save_model(folder / "base.safetensors", network, NETWORK.model_dump(), CARD)
    return folder


def volumes(data: Path, **values: Any) -> tuple[AnnotatedVolume, ...]:
    given = {"raw": data / "raw.zarr", "truth": data / "cells.tif", "truth_kind": "cells"}
    size = values.pop("voxel_size_nm", None)
    return volumes_of([Annotation(**{**given, **values})], voxel_size_nm=size)


def run(*arguments: object) -> int:
    """Exit code of the command line."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def tune(data: Path, output: Path, *more: object) -> int:
    return run(
        "train", "boundaries", "--from", data / "base.safetensors", "--raw", data / "raw.zarr",
        "--truth", data / "cells.tif", "--truth-kind", "cells", "--steps", 2, "--device", "cpu",
        "--output", output, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tuned(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "mine"
    assert tune(data, output) == 0
    return output


def test_a_command_without_yaml_leaves_a_model_of_the_same_shape(data: Path, tuned: Path) -> None:
    base, mine = (
        load_model(path) for path in (data / "base.safetensors", tuned / "mine.safetensors")
    )
    assert mine.shape == base.shape
    assert mine.shape["widths"] == [8, 16]
    weights = mine.network.state_dict()
    changed = [not torch.equal(t, weights[n]) for n, t in base.network.state_dict().items()]
    assert any(changed)


def test_the_card_names_both_data_sets(tuned: Path) -> None:
    card = json.loads((tuned / "mine.json").read_text())
    assert card == load_model(tuned / "mine.safetensors").card
    assert card["started_from"] == "base.safetensors"
    assert card["base"]["card"]["data"] == CARD["data"]
    assert [v["annotated_sections"] for v in card["data"]] == [[1, 2, 3, 4, 5]]
    assert "for nobody" in card["licence"]


def test_the_configuration_lies_beside_the_model_and_gives_it_again(
    tuned: Path, tmp_path: Path
) -> None:
    text = (tuned / "training.yaml").read_text()
    assert text.startswith("# Written by: python -m pipeline")
    config = read_training(tuned / "training.yaml")
    assert config.training.steps == 2
    assert config.training.learning_rate == FINE_TUNING["learning_rate"]
    assert "network" not in yaml.safe_load(text)["training"]
    again = train_boundaries(config, Path(), tmp_path, device="cpu")
    one, two = (load_model(p).network.state_dict() for p in (tuned / "mine.safetensors", again))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_one_of_five_sections_is_held_back_and_scored_before_and_after(
    data: Path, tuned: Path
) -> None:
    card = load_model(tuned / "mine.safetensors").card
    assert card["data"][0]["held_back"] == [5, 6, 0, 64, 0, 256]
    target = (TISSUE.cells[5:6] == 0).astype(np.uint8)
    held = HeldBack("raw", TISSUE.raw[5:6], target, SECTIONS_NM)
    for key, model in (
        ("before", data / "base.safetensors"),
        ("after", tuned / "mine.safetensors"),
    ):
        assert card["held_back"][key] == score_held_back(model, [held], "cpu")


@pytest.mark.parametrize(("context", "z"), [(0, [3]), (1, [2, 3, 4]), (3, [1, 2, 3, 4, 5])])
def test_a_held_back_section_is_scored_among_those_that_the_network_sees(
    context: int, z: list[int], data: Path
) -> None:
    (volume,) = volumes(data)
    chosen = volume.model_copy(update={"held_back": (3, 4, 0, 64, 0, 256)})
    _, held = load(chosen, Path(), context)
    assert held is not None
    assert np.array_equal(held.raw, TISSUE.raw[z])
    assert (held.target != 255).any(axis=(1, 2)).tolist() == [place == 3 for place in z]


def test_a_perfect_map_has_perfect_scores(tmp_path: Path) -> None:
    network = save_dark_network(tmp_path / "dark.safetensors")
    target = (TISSUE.cells[:2] == 0).astype(np.uint8)
    good, wrong = (
        score_held_back(network, [HeldBack("v", TISSUE.raw[:2], true, SECTIONS_NM)], "cpu")
        for true in (target, 1 - target)
    )
    assert good["v_rand"] > 0.97 > wrong["v_rand"]
    assert good["log_loss"] < 0.5
    assert wrong["log_loss"] > 2
    assert good["pixels"] == target.size


def test_unannotated_pixels_are_not_scored(tmp_path: Path) -> None:
    network = save_dark_network(tmp_path / "dark.safetensors")
    target = (TISSUE.cells[:1] == 0).astype(np.uint8)
    target[:, :, 128:] = 255
    raw = TISSUE.raw[:1].copy()
    first = score_held_back(network, [HeldBack("v", raw, target, SECTIONS_NM)], "cpu")
    assert first["pixels"] == 64 * 128


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, {"log_loss": 0.5}, "held back: log loss 0.5000"),
        ({"log_loss": 0.5}, {"log_loss": 0.6}, "held back: log loss 0.5000 -> 0.6000 (worse)"),
        (
            {"log_loss": 0.5, "v_rand": 0.7, "v_info": 0.8},
            {"log_loss": 0.5, "v_rand": 0.8, "v_info": 0.7},
            "held back: log loss 0.5000 -> 0.5000 (the same), V_rand 0.7000 -> 0.8000 (better), "
            "V_info 0.8000 -> 0.7000 (worse)",
        ),
    ],
)
def test_the_change_is_told(before: Any, after: Any, said: str) -> None:
    assert as_sentence(before, after) == said


@pytest.mark.parametrize(
    ("sections", "held"),
    [
        ("2:3", None),
        ("2:4", (3, 4, 0, 64, 192, 256)),
        ("1,3,4,5", (5, 6, 0, 64, 192, 256)),
        ("1:6", (5, 6, 0, 64, 0, 256)),
    ],
)
def test_what_is_held_back_depends_on_the_number_of_sections(
    sections: str, held: tuple[int, ...] | None, data: Path
) -> None:
    found = boundary_training(volumes(data, sections=sections), "m", start=None)
    assert found.volumes[0].held_back == held
    everything = boundary_training(
        volumes(data, sections=sections), "m", start=None, hold_back=False
    )
    assert everything.volumes[0].held_back is None


def test_pixels_that_the_model_does_not_know_are_brought_to_its_scale(data: Path) -> None:
    base = str(data / "base.safetensors")
    same = boundary_training(volumes(data), "m", start=base)
    assert "augmentation" not in same.training.model_fields_set
    coarse = volumes(data, raw=data / "coarse.zarr")
    low, high = boundary_training(coarse, "m", start=base).training.augmentation.scale
    assert 4 < 20 / (low * high) ** 0.5 < 10
    assert high / low == pytest.approx(1.35 / 0.75, rel=1e-3)


def test_pixels_that_the_model_does_not_know_are_told(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    coarse = boundary_training(
        volumes(data, raw=data / "coarse.zarr", sections="1:3"), "m", start=None, steps=1
    )
    train_boundaries(coarse, Path(), tmp_path, start=data / "base.safetensors", device="cpu")
    assert "pixels of 20 nm, but" in caplog.text
    assert "knows 4.0 to 10.0 nm only" in caplog.text


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (None, {}),
        ("0:3", {"sections": (0, 3)}),
        ("7", {"sections": (7, 8), "annotated_sections": (7,)}),
        ("12,3,7,3", {"sections": (3, 13), "annotated_sections": (3, 7, 12)}),
    ],
)
def test_sections_are_a_range_or_a_list(text: str | None, keys: dict[str, Any]) -> None:
    assert parse_sections(text) == keys


@pytest.mark.parametrize("text", ["", "a", "1:2:3", "1-3", "-1:3", "1:", ",3"])
def test_other_sections_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"give a range, 0:3, or a list, 3,7,12"):
        parse_sections(text)


def test_one_option_serves_all_volumes_or_each_has_its_own() -> None:
    a, b = Path("a"), Path("b")
    found = paired([a, b], [b, a], ["cells"], ["0:1", "2:3"], [])
    assert found == [Annotation(a, b, "cells", "0:1"), Annotation(b, a, "cells", "2:3")]
    with pytest.raises(ConfigError, match="2 --raw and 1 --truth"):
        paired([a, b], [a], ["cells"], [], [])
    with pytest.raises(ConfigError, match="--truth-kind"):
        paired([a], [b], [], [], [])
    with pytest.raises(ConfigError, match="--sections: give it once, or once for each of the 3"):
        paired([a] * 3, [a] * 3, ["cells"], ["0:1", "1:2"], [])


def test_steps_follow_from_minutes(data: Path) -> None:
    config = boundary_training(volumes(data), "m", start=str(data / "base.safetensors"))
    few, many = (with_steps_for(config, m, Path(), "cpu").training.steps for m in (0.1, 1.0))
    assert 10 <= few < many


def test_minutes_are_measured_once_and_then_kept(data: Path, tmp_path: Path) -> None:
    base = str(data / "base.safetensors")
    first, again = (
        boundary_training(volumes(data, sections="1:3"), "m", start=base, steps=steps)
        for steps in (2, None)
    )
    assert begun(again, tmp_path) is None
    train_boundaries(first, Path(), tmp_path, device="cpu")
    kept = begun(again, tmp_path)
    assert kept is not None
    assert kept.training.steps == 2
    assert begun(again.model_copy(update={"name": "other"}), tmp_path) is None


def test_a_fold_and_its_complement_learn_from_different_sections(
    data: Path, tmp_path: Path
) -> None:
    seen = []
    for fold in (0, 1):
        assert tune(data, tmp_path / f"f{fold}", "--fold", fold) == 0
        card = load_model(tmp_path / f"f{fold}" / f"f{fold}-fold{fold}.safetensors").card
        seen.append(card["data"][0]["annotated_sections"])
        assert "held_back" not in card
    assert seen == [[1, 2], [3, 4, 5]]


def test_an_annotation_that_changed_does_not_go_on_in_the_same_folder(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = tifffile.imread(data / "cells.tif")
    for name in ("raw.zarr", "base.safetensors"):
        source = data / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    tifffile.imwrite(tmp_path / "cells.tif", cells)
    assert tune(tmp_path, tmp_path / "out") == 0
    cells[3, 10:20, 10:20] = 0
    tifffile.imwrite(tmp_path / "cells.tif", cells)
    assert tune(tmp_path, tmp_path / "out") == 2
    assert "holds a training on other data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "defualt"], "no model 'defualt': neither a file nor a packaged model"),
        (["--from", "BROKEN"], "damaged model file"),
        (["--sections", "5:9"], "sections 5..9 do not lie inside 0..8"),
        (["--sections", "6:8"], "no voxel of sections 6..8 is annotated"),
        (["--sections", "0-3"], "give a range, 0:3, or a list"),
        (["--truth-kind", "outlines"], "--truth-kind: give it once"),
        (["--voxel-size", "40,4,4"], "its metadata say 40, 8, 8 nm"),
        (["--minutes", "3"], "give --steps or --minutes, not both"),
        (["CONFIG"], "not both"),
    ],
    ids=lambda v: v if isinstance(v, str) else " ".join(v),
)
def test_mistakes_end_in_one_line_and_leave_nothing(
    options: list[str],
    said: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((data / "base.safetensors").read_bytes()[:999])
    config = tmp_path / "c.yaml"
    config.write_text("name: a\n")
    values = {"BROKEN": str(broken), "CONFIG": str(config)}
    output = tmp_path / "out"
    assert tune(data, output, *(values.get(o, o) for o in options)) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in error
    assert not output.exists()


def test_an_unknown_kind_of_truth_is_refused(data: Path) -> None:
    with pytest.raises(ConfigError, match="truth_kind = 'outlines'"):
        volumes(data, truth_kind="outlines")


def test_without_anything_the_options_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "boundaries", "--output", tmp_path / "out") == 2
    assert (
        "give a configuration file, or --raw, --truth and --truth-kind" in capsys.readouterr().err
    )


def test_a_network_is_not_needed_beside_a_model_to_start_from(data: Path, tmp_path: Path) -> None:
    base = data / "base.safetensors"
    config = boundary_training(volumes(data), "m", start=None, steps=1)
    asked = config.training.model_copy(update={"network": RCSPCNetConfig(stem=16)})
    with pytest.raises(ConfigError, match="another stem, widths, units"):
        train_boundaries(
            config.model_copy(update={"training": asked}), Path(), tmp_path, start=base
        )
    same = config.training.model_validate({**asked.model_dump(), "network": NETWORK})
    path = train_boundaries(
        config.model_copy(update={"training": same}), Path(), tmp_path, start=base, device="cpu"
    )
    assert load_model(path).shape["stem"] == 8
    with pytest.raises(ModelError, match="no model"):
        train_boundaries(config, Path(), tmp_path / "b", start="nobody")


def test_crops_that_the_network_to_start_from_cannot_see_are_refused(
    data: Path, tmp_path: Path
) -> None:
    config = boundary_training(volumes(data), "m", start=None, steps=1)
    shape = NETWORKS["u_net"].configured({"width": 8, "depth": 4})
    card = {"halo_pixels": 16, "stride_pixels": 16}
    path = tmp_path / "deep.safetensors"
    save_model(path, NETWORKS["u_net"].build(shape), shape.model_dump(), card)
    small = config.training.model_copy(update={"crop": 40})
    with pytest.raises(ConfigError, match="crop = 40 is no multiple of 16"):
        train_boundaries(
            config.model_copy(update={"training": small}), Path(), tmp_path / "c", start=path
        )
    assert not (tmp_path / "c").exists()


def test_bright_membranes_and_a_dark_section_are_learned_as_run_would_show_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tissue = paint_tissue((6, 256, 256), cells=150, z_step=5)
    greys = {"usual.tif": tissue.raw, "inverted.tif": 255 - tissue.raw}
    dark = tissue.raw.copy()
    dark[3] //= 3
    for name, raw in {**greys, "dark.tif": dark}.items():
        tifffile.imwrite(tmp_path / name, raw)
    tifffile.imwrite(tmp_path / "cells.tif", (tissue.cells > 0).astype(np.uint8))
    caplog.set_level("INFO")
    usual, inverted, drifting = (
        load(
            volumes(
                tmp_path,
                raw=tmp_path / name,
                truth=tmp_path / "cells.tif",
                voxel_size_nm=SECTIONS_NM,
            )[0],
            Path(),
        )[0].raw
        for name in ("usual.tif", "inverted.tif", "dark.tif")
    )
    assert "inverted: membranes are brighter than cells; inverted" in caplog.text
    assert float(np.abs(inverted - usual).mean()) < 0.02
    assert float(np.abs(drifting[3] - usual[3]).mean()) < 0.05


def test_several_volumes_have_names_of_their_own(data: Path) -> None:
    one = Annotation(data / "raw.zarr", data / "cells.tif", "cells", "1:3")
    other = Annotation(data / "raw.zarr", data / "cells.tif", "cells", "4,5")
    config = boundary_training(volumes_of([one, other]), "m", start=None)
    assert [v.name for v in config.volumes] == ["raw-0", "raw-1"]
    assert [v.held_back is None for v in config.volumes] == [False, False]
    assert config.volumes[1].annotated_sections is None
    assert config.volumes[1].sections == (4, 6)


def test_a_training_that_is_interrupted_says_what_is_kept_and_goes_on(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(FINE_TUNING, "checkpoint_steps", 2)
    config = boundary_training(
        volumes(data, sections="1:3"), "m", start=str(data / "base.safetensors"), steps=4
    )
    expected = load_model(train_boundaries(config, Path(), tmp_path / "whole", device="cpu"))

    def interrupted(volumes: Any, settings: Any, step: int) -> Any:
        if step == 3:
            raise KeyboardInterrupt
        return draw(volumes, settings, step)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_boundaries(config, Path(), tmp_path / "half", device="cpu")
    assert "stopped; 2 steps are kept, and the same command goes on" in caplog.text
    assert not list((tmp_path / "half").glob("*.safetensors"))
    found = load_model(train_boundaries(config, Path(), tmp_path / "half", device="cpu"))
    weights = found.network.state_dict()
    assert all(torch.equal(t, weights[n]) for n, t in expected.network.state_dict().items())


def test_final_weights_lie_between_those_of_the_base_and_of_the_training(
    data: Path, tmp_path: Path
) -> None:
    config = boundary_training(
        volumes(data, sections="1:3"), "m", start=str(data / "base.safetensors"), steps=2
    )
    assert config.base_share == BASE_SHARE
    shares = (0.0, 0.25)
    ended, between = (
        load_model(
            train_boundaries(
                config.model_copy(update={"base_share": share}),
                Path(),
                tmp_path / str(share),
                device="cpu",
            )
        ).network.state_dict()
        for share in shares
    )
    started = load_model(data / "base.safetensors").network.state_dict()
    moved = 0
    for name, tensor in between.items():
        if tensor.is_floating_point():
            expected = 0.25 * started[name] + 0.75 * ended[name]
            torch.testing.assert_close(tensor, expected, atol=2e-3, rtol=2e-3)  # kept as float16
            moved += not torch.equal(started[name], ended[name])
        else:
            assert torch.equal(tensor, ended[name])
    assert moved > 10


def test_mixed_weights_by_hand() -> None:
    started = {"w": torch.tensor([0.0, 4.0]), "n": torch.tensor(7)}
    ended = {"w": torch.tensor([2.0, 0.0]), "n": torch.tensor(9)}
    found = mixed(started, ended, 0.25)
    assert found["w"].tolist() == [1.5, 1.0]
    assert found["n"] == 9
    assert mixed(started, ended, 0)["w"].tolist() == [2.0, 0.0]
    assert ended["w"].tolist() == [2.0, 0.0]
