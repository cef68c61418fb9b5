"""The piriform benchmark on small synthetic files of the form of the Seung lab's stacks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from small_benchmarks import small_config, synthetic_stack

from benchmarks import piriform
from benchmarks.piriform_data import read_stack
from benchmarks.piriform_models import Models, found_models, to_train
from benchmarks.published import NOT_MEASURED, read
from benchmarks.quality import Row
from pipeline.errors import InputError, LeakageError
from workflows.train_boundaries import read_training, train_boundaries
from workflows.train_edges import read_edge_training

NM = (40.0, 7.0, 7.0)
CONFIGS = Path(__file__).parents[2] / "configs" / "train"


def in_colours(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """Ids as colours that differ in every channel; 0 is black."""
    spread = (ids.astype(np.uint64) * 40503) % (1 << 24)
    return np.stack([(spread >> shift) & 255 for shift in (16, 8, 0)], axis=-1).astype(np.uint8)


def write_stack(data: Path, number: int, raw: NDArray[Any], labels: NDArray[Any]) -> None:
    folder = data / "piriform"
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / f"stack{number}-image.tif", raw, photometric="minisblack")
    colours = "rgb" if labels.ndim == 4 else "minisblack"
    tifffile.imwrite(folder / f"stack{number}-label.tif", labels, photometric=colours)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_config(tmp_path_factory.mktemp("models"), NM)


@pytest.fixture(scope="module")
def stack() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    return synthetic_stack((4, 56, 48), NM)


def run(data: Path, output: Path, config: Path, trained: Path) -> Path:
    words = ["--data", data, "--output", output, "--config", config, "--trained", trained]
    return piriform.main([*map(str, words), "--device", "cpu", "--quick"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, "colours", "with opacity"])
def test_labels_of_any_depth_and_in_colours_are_the_same_objects(
    dtype: Any, stack: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path
) -> None:
    raw, ids = stack
    if isinstance(dtype, str):
        labels = in_colours(ids)
        if dtype == "with opacity":
            labels = np.concatenate([labels, np.full((*ids.shape, 1), 255, np.uint8)], axis=-1)
    else:
        labels = ids.astype(dtype)
    write_stack(tmp_path, 3, raw, labels)
    found = read_stack(tmp_path, 3).ids
    assert found.shape == ids.shape
    assert ((found == 0) == (ids == 0)).all()
    pairs = np.unique(np.stack([ids.ravel(), found.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(ids)) == len(np.unique(found))


def test_images_of_16_bits_are_read(stack: Any, tmp_path: Path) -> None:
    write_stack(tmp_path, 4, stack[0].astype(np.uint16) * 100, stack[1].astype(np.uint16))
    assert read_stack(tmp_path, 4).box.end == stack[0].shape


def test_a_missing_stack_is_told_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stack3-image\.tif: no such file; docs/data\.md"):
        piriform.main(["--data", str(tmp_path), "--output", str(tmp_path / "out")])


def test_labels_of_another_shape_are_refused(stack: Any, tmp_path: Path) -> None:
    write_stack(tmp_path, 3, stack[0], stack[1][:, :-1].astype(np.uint8))
    with pytest.raises(InputError, match=r"has \(4, 55, 48\) voxels, but stack3-image\.tif has"):
        read_stack(tmp_path, 3)


@pytest.mark.slow
def test_the_whole_program_fills_the_rows_it_has_models_for(
    stack: Any, config: Path, tmp_path: Path
) -> None:
    raw, ids = stack
    write_stack(tmp_path, 3, raw, in_colours(ids))
    write_stack(tmp_path, 4, raw[:2].astype(np.uint16), ids[:2].astype(np.uint16))
    trained = tmp_path / "trained" / "rcnet"
    trained.mkdir(parents=True)
    shutil.copy(config.parent / "dark.safetensors", trained / "piriform-rcnet.safetensors")
    found = read(run(tmp_path, tmp_path / "out", config, tmp_path / "trained"))
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    assert rows["SegNet"] == (None, None, 0.8164, 0.6399)
    assert rows["RC-SPCNet-LMC"] == (NOT_MEASURED, NOT_MEASURED, 0.9562, 0.9318)
    # The stand-in for RCNet is the very network that the configuration names.
    shipped = rows["shipped network, never saw mouse piriform cortex"]
    assert rows["RCNet"] == (*shipped[:2], 0.9239, 0.9232)
    assert all(isinstance(score, float) and 0.3 < score <= 1 for score in shipped[:2])
    assert "train edges configs/train/edges_piriform.yaml" in found.tables[0].note
    assert {"shipped-3-section", "piriform-rcnet-4-thresholds-v_rand"} <= set(found.figures)


def test_the_table_takes_maps_for_networks_and_labels_for_the_lifted_multicut() -> None:
    def rows(shift: float, seen: str = "") -> list[Row]:
        of_map = Row(f"max TTA{seen}", "0.70 oracle", 0.5 + shift, 0.5, None, None, None)
        in_3d = Row(f"max TTA{seen}", "0.10 oracle", None, None, 0.1, 0.1, 0.1)
        lifted = Row(f"+ lifted multicut{seen}", "", 0.6 + shift, 0.5, 0.1, 0.1, 0.1)
        return [of_map, in_3d, lifted]

    own = Models("piriform", "", own_forests=True)
    found = {
        "shipped": {3: rows(0.01), 4: rows(0.02)},
        "piriform": {3: rows(0.03), 4: rows(0.25, " (seen in training)")},
    }
    table = piriform.comparison(found, [Models("shipped", ""), own])
    lines = {row[0]: row[1:3] for row in table.rows}
    assert lines["GCN"] == (None, None)
    assert lines["RCNet"] == (NOT_MEASURED, NOT_MEASURED)
    assert lines["RC-SPCNet"] == (0.53, "0.7500 (seen in training)")
    assert lines["RC-SPCNet-LMC"] == (0.63, "0.8500 (seen in training)")
    assert lines["shipped network, never saw mouse piriform cortex"] == (0.51, 0.52)
    assert table.columns[1:] == ("stack 3", "stack 4", "paper, stack 3", "paper, stack 4")
    only_shipped = piriform.comparison(found, [Models("shipped", ""), Models("piriform", "")])
    assert only_shipped.rows[8][1:3] == (NOT_MEASURED, NOT_MEASURED)  # forests of its own lack


def test_forests_go_with_the_network_whose_folds_they_saw(tmp_path: Path) -> None:
    names = ("piriform", "piriform-focal", "edges-piriform", "lifted-piriform")
    for name in names:
        (tmp_path / f"{name}.safetensors").touch()
    found = {one.name: one for one in found_models(tmp_path)}
    assert [found[name].own_forests for name in ("shipped", "piriform", "piriform-focal")] == [
        False,
        True,
        False,
    ]
    assert f"lifted.forest={tmp_path / 'lifted-piriform.safetensors'}" in (
        found["piriform"].overrides
    )
    assert to_train(list(found.values())) == [
        "python -m pipeline train boundaries configs/train/piriform_rcnet.yaml --data DATA "
        "--output runs/piriform/piriform-rcnet"
    ]
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "piriform.safetensors").touch()
    with pytest.raises(InputError, match=r"several files are named piriform\.safetensors"):
        found_models(tmp_path)


@pytest.mark.slow
def test_training_reads_the_stacks_and_their_scores_are_refused_afterwards(
    stack: Any, config: Path, tmp_path: Path
) -> None:
    raw, ids = synthetic_stack((6, 96, 96), NM, seed=3)
    write_stack(tmp_path, 1, raw, in_colours(ids))
    write_stack(tmp_path, 2, *stack)
    settings = read_training(CONFIGS / "piriform.yaml")
    values = settings.training.model_dump()
    small = {"stem": 8, "widths": (8, 16), "units": (1,) * 6}
    values |= {"steps": 2, "crop": 64, "checkpoint_steps": 1}
    values["network"] |= small
    values["validation"] |= {"every_steps": 1}
    training = type(settings.training).model_validate(values)
    settings = settings.model_copy(update={"training": training})
    path = train_boundaries(settings, tmp_path, tmp_path / "trained", device="cpu")
    assert path.name == "piriform.safetensors"
    for number in (3, 4):  # what was trained on in the place of what is tested on
        shutil.copy(
            tmp_path / "piriform" / "stack1-image.tif",
            tmp_path / "piriform" / f"stack{number}-image.tif",
        )
        shutil.copy(
            tmp_path / "piriform" / "stack1-label.tif",
            tmp_path / "piriform" / f"stack{number}-label.tif",
        )
    with pytest.raises(LeakageError, match="piriform stack 1"):
        run(tmp_path, tmp_path / "out", config, tmp_path / "trained")


@pytest.mark.parametrize("name", ["piriform.yaml", "piriform_rcnet.yaml", "piriform_focal.yaml"])
def test_networks_and_forests_learn_from_stacks_1_and_2_alone(name: str) -> None:
    volumes = read_training(CONFIGS / name).volumes
    assert [one.raw for one in volumes] == [f"piriform/stack{n}-image.tif" for n in (1, 2)]
    forests = read_edge_training(CONFIGS / "edges_piriform.yaml").volumes
    assert [one.truth for one in forests] == [one.truth for one in volumes]
