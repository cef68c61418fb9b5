"""The ISBI 2012 benchmark on small files of the same form; nothing is scored by what saw it."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from small_pipeline import (
    Tissue,
    dark_network,
    dark_shape,
    paint_tissue,
    save_forests,
    settings,
)

from benchmarks import isbi2012_cross_validation
from benchmarks.datasets import ISBI2012
from benchmarks.isbi2012 import main
from benchmarks.isbi2012_cross_validation import FoldScores, Scored, fold_scores
from benchmarks.isbi2012_figures import coloured, covering
from benchmarks.isbi2012_folds import FOLDS, annotated, every_network, sections_without
from benchmarks.isbi2012_forests import forest_training
from benchmarks.isbi2012_maps import Predictor
from benchmarks.isbi2012_networks import NETWORKS, SHIPPED, given_networks, how_made
from benchmarks.isbi2012_study import Study, require_tuned_without
from benchmarks.isbi2012_submission import checked, score_stack, submission
from benchmarks.isbi2012_table1 import (
    PAPER_WORDS,
    Sections,
    as_table,
    map_scores,
    measured,
    training_table,
)
from benchmarks.isbi2012_tables import fold_table, mean_curves, mean_table
from benchmarks.papers import paper_table
from benchmarks.published import NOT_MEASURED, SEEN, read
from benchmarks.reports import ROOT
from pipeline.boundaries.model import load_model, save_model
from pipeline.boundaries.networks import NETWORKS as REGISTRY
from pipeline.config import as_yaml
from pipeline.errors import InputError, LeakageError, OutputError
from pipeline.evaluation.isbi import score_map, truth_sections
from pipeline.evaluation.thinning import cell_mask
from workflows.edge_training import ForestConfig
from workflows.seen_data import require_unseen
from workflows.train_boundaries import read_training

RAW = ISBI2012.raw
SMALL_FOLDS = ((0, 2), (2, 4), (4, 6), (6, 8))


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return paint_tissue((8, 72, 72), 40, z_step=4.0)


def write_data(folder: Path, tissue: Tissue) -> Path:
    """Files named and typed as those of the data set."""
    place = folder / "isbi2012"
    place.mkdir(parents=True)
    tifffile.imwrite(place / "raw.tif", tissue.raw)
    tifffile.imwrite(place / "neurites_z00-19.tif", tissue.cells.astype(np.uint16))
    masks = np.where(tissue.cells > 0, 255, 0).astype(np.uint8)
    tifffile.imwrite(place / "membranes_z00-19.tif", masks)
    return folder


def save_network(path: Path, sections: Sequence[int] | None, **card: Any) -> Path:
    """A network whose card says that it learned from these sections of ISBI 2012."""
    volumes = []
    if sections is not None:
        span = [min(sections), max(sections) + 1]
        volumes = [{"raw": RAW, "sections": span, "annotated_sections": list(sections)}]
    full = {"halo_pixels": 8, "stride_pixels": 8, "data": volumes, **card}
    save_model(path, dark_network(), dark_shape().model_dump(), full)
    return path


@pytest.fixture
def study(tmp_path: Path, tissue: Tissue) -> Study:
    def network(without: tuple[int, ...]) -> Path:
        path = tmp_path / ("without" + "".join(map(str, without)) + ".safetensors")
        left = [z for n, f in enumerate(SMALL_FOLDS) for z in range(*f) if n not in without]
        return path if path.exists() else save_network(path, left)

    config = settings(network((0,)), tile=(1, 72, 72))
    predictor = Predictor(config, ISBI2012.voxel_size_nm, "cpu", tmp_path / "maps")
    return Study(
        ISBI2012,
        write_data(tmp_path / "data", tissue),
        SMALL_FOLDS,
        network,
        predictor,
        tmp_path / "output",
        forest=ForestConfig(trees=4),
    )


def test_a_map_of_another_arithmetic_is_not_taken_for_the_kept_one(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (1, 72, 72)).astype(np.uint8)
    predictor, kept = study.predictor, study.predictor.kept
    for precision, files in (("fp32", 1), ("bf16", 2), ("fp16", 3), ("fp32", 3)):
        monkeypatch.setattr("benchmarks.isbi2012_maps.choose_precision", lambda *_, p=precision: p)
        predictor.boundaries(raw, predictor.configured())
        assert len(list(kept.iterdir())) == files


def test_no_fold_network_is_given_a_section_of_the_folds_that_it_must_not_see() -> None:
    assert len(every_network()) == 10
    for without in every_network():
        given = annotated(sections_without(without)).annotated_sections
        assert given is not None
        hidden = {z for fold in without for z in range(*FOLDS[fold])}
        assert set(given) | hidden == set(range(20))
        assert not set(given) & hidden


def test_forests_of_a_fold_learn_from_the_other_folds_predicted_by_networks_that_saw_neither(
    study: Study,
) -> None:
    for fold in range(4):
        volumes = forest_training(study, fold).volumes
        others = [number for number in range(4) if number != fold]
        assert [v.sections for v in volumes] == [SMALL_FOLDS[number] for number in others]
        names = [path.stem for path in study.networks(fold)]
        pairs = [f"without{min(fold, other)}{max(fold, other)}" for other in others]
        assert names == [f"without{fold}", *pairs]


@pytest.mark.parametrize("without", [(0,), (0, 2)], ids=["predicts the fold", "predicts another"])
def test_a_network_whose_card_names_the_fold_is_refused(
    study: Study, tmp_path: Path, without: tuple[int, ...]
) -> None:
    leaking = save_network(tmp_path / "leaking.safetensors", [1, 6, 7])

    def network(asked: tuple[int, ...]) -> Path:
        return leaking if asked == without else study.network(asked)

    with pytest.raises(LeakageError, match=r"leaking.*learned from sections 1-1 of .*0-1"):
        fold_scores(replace(study, network=network), 0)
    assert not list((tmp_path / "output").glob("fold-*"))


def test_a_nested_network_must_not_have_seen_the_fold_that_it_predicts_either(
    study: Study, tmp_path: Path
) -> None:
    leaking = save_network(tmp_path / "leaking.safetensors", [2, 3])

    def network(asked: tuple[int, ...]) -> Path:
        return leaking if asked == (0, 1) else study.network(asked)

    with pytest.raises(LeakageError, match="sections 2-3 cannot be scored"):
        replace(study, network=network).networks(0)


def test_what_the_base_of_a_network_learned_from_counts(tmp_path: Path) -> None:
    base = {"card": {"data": [{"raw": RAW, "sections": [0, 14]}]}}
    model = save_network(tmp_path / "tuned.safetensors", [18], base=base)
    require_tuned_without(model, RAW, (14, 18))
    require_tuned_without(model, "other/raw.tif", (0, 20))
    with pytest.raises(LeakageError, match="0-13"):
        require_tuned_without(model, RAW, (13, 15))
    with pytest.raises(LeakageError, match="18-18"):
        require_tuned_without(model, RAW, (15, 20))


def test_a_volume_without_sections_was_learned_from_as_a_whole(tmp_path: Path) -> None:
    whole = {"data": [{"raw": RAW, "sections": None}]}
    model = save_network(tmp_path / "whole.safetensors", None, **whole)
    with pytest.raises(LeakageError):
        require_tuned_without(model, RAW, (29, 30))


def test_a_finished_fold_is_read_again_until_something_that_decides_it_changes(
    study: Study, tissue: Tissue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fold_scores(study, 1)
    forest = next(study.output.glob("fold-1-*/edges-without-1.safetensors"))
    assert not require_unseen(tissue.raw[2:4], [forest], what="fold 1")
    for learned in (0, 4, 6):
        with pytest.raises(LeakageError):
            require_unseen(tissue.raw[learned : learned + 2], [forest], what="another")
    lifted = next(row for row in first.rows if row.method == "+ lifted multicut")
    assert lifted.v_rand > 0.9
    assert {row.chosen for row in first.rows} == {"other folds", "oracle", None}
    for given, oracle in zip(first.rows[0:6:2], first.rows[1:6:2], strict=True):
        assert given.method == oracle.method
        assert given.v_rand <= oracle.v_rand
        assert given.v_info <= oracle.v_info

    def computed(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(isbi2012_cross_validation, "map_rows", computed)
    assert fold_scores(study, 1) == first
    changed = study.network((0, 1))
    save_network(changed, [4, 5, 6, 7], name="another")
    with pytest.raises(AssertionError, match="computed again"):
        fold_scores(study, 1)


def fold_of(begin: int, v_rand: float, seen: tuple[str, ...] = ()) -> FoldScores:
    common = {"v_info": 0.5, "arand": 0.1, "voi_split": 1.0, "voi_merge": 2.0}
    rows = (
        Scored(
            method="map",
            chosen="oracle",
            threshold_2d=0.5,
            threshold_3d=0.1,
            v_rand=v_rand,
            **common,
        ),
        Scored(
            method="cut", chosen=None, threshold_2d=None, threshold_3d=None, v_rand=v_rand, **common
        ),
    )
    curves = {"max": ((0.5, v_rand, 0.25), (0.75, 0.0, 0.75))}
    return FoldScores(
        sections=(begin, begin + 5), rows=rows, curves=curves, prior=0.5, seen=seen, seconds=1.0
    )


def test_folds_are_averaged_and_their_spread_is_the_sample_standard_deviation() -> None:
    folds = [fold_of(0, 0.9), fold_of(5, 0.7)]
    table = mean_table(folds)
    assert table.columns[:3] == ("method", "threshold", "V_rand")
    assert [row[:3] for row in table.rows] == [
        ("map", "oracle", "0.8000 ± 0.1414"),
        ("cut", None, "0.8000 ± 0.1414"),
    ]
    assert mean_curves(folds) == {"max": [(0.5, pytest.approx(0.8), 0.25), (0.75, 0.0, 0.75)]}


def test_the_table_by_fold_holds_every_method_of_every_fold() -> None:
    table = fold_table([fold_of(0, 0.9), fold_of(5, 0.7)])
    assert [row[:6] for row in table.rows] == [
        ("map", "oracle", "0-4", "0.50", "0.10", 0.9),
        ("map", "oracle", "5-9", "0.50", "0.10", 0.7),
        ("cut", None, "0-4", None, None, 0.9),
        ("cut", None, "5-9", None, None, 0.7),
    ]


def test_rows_of_a_fold_that_a_model_saw_say_so() -> None:
    folds = [fold_of(0, 0.9), fold_of(5, 0.7, seen=("sections 5:6 ...",))]
    for table in (mean_table(folds), fold_table(folds)):
        assert all(SEEN in str(row[0]) for row in table.rows)


def test_table_1_has_a_row_for_every_network_and_post_processing_even_if_nothing_is_trained() -> (
    None
):
    table = as_table({}, "Table 1")
    titles = [network.title for network in (*NETWORKS, SHIPPED)]
    assert len(titles) == 10
    assert [row[:2] for row in table.rows[2:]] == [(t, m) for t in titles for m in PAPER_WORDS]
    assert all(row[2:4] == (NOT_MEASURED, NOT_MEASURED) for row in table.rows[2:])


def test_the_commands_that_fill_table_1_train_the_networks_of_its_rows() -> None:
    rows = training_table().rows
    assert [row[0] for row in rows] == [network.title for network in NETWORKS]
    for network, row in zip(NETWORKS, rows, strict=True):
        words = shlex.split(str(row[2]).strip("`"))
        assert words[:5] == ["python", "-m", "pipeline", "train", "boundaries"]
        overrides = [words[n + 1] for n, word in enumerate(words) if word == "--set"]
        config = read_training(ROOT / words[5], overrides)
        assert config.name == network.name
        shape = config.training.network.model_dump()
        assert {key: shape[key] for key in network.shape} == network.shape
        assert config.volumes[0].sections == ISBI2012.train


def test_every_row_of_the_papers_table_1_stands_in_the_papers_columns_alone() -> None:
    theirs = [tuple(row[2:]) for row in paper_table("rc-spcnet", 1).rows]
    table = as_table({SHIPPED.name: {"max TTA": (0.5, 0.25)}}, "Table 1")
    assert sorted(row[4:] for row in table.rows if row[4] is not None) == sorted(theirs)
    ours = [row[2:4] for row in table.rows if isinstance(row[2], float)]
    assert ours == [(0.5, 0.25)]
    shipped = [row for row in table.rows if row[0] == SHIPPED.title]
    assert all(row[4:] == (None, None) for row in shipped)


def test_a_network_that_saw_the_sections_is_marked_in_table_1() -> None:
    table = as_table({}, "Table 1", seen={"u_net"})
    assert {row[0] for row in table.rows if SEEN in str(row[0])} == {f"U-Net ({SEEN})"}


def test_a_given_network_must_be_the_one_that_its_row_names(tmp_path: Path) -> None:
    file = save_network(tmp_path / "k2.safetensors", None)
    assert given_networks([f"rc_spcnet_k2={file}"])["rc_spcnet_k2"].model == file
    for wrong, reason in (
        (f"rc_spcnet_k1={file}", "context_skips is 2, not 1"),
        (f"u_net={file}", "architecture is rc_spcnet, not u_net"),
        (f"segnet={file}", "NAME one of resnet38"),
        (str(file), "write NAME=FILE"),
    ):
        with pytest.raises(InputError, match=reason):
            given_networks([wrong])
    with pytest.raises(InputError, match="twice"):
        given_networks([f"rc_spcnet_k2={file}"] * 2)
    with pytest.raises(InputError, match="give the network too"):
        given_networks([], [f"u_net={file},{file}"])


def test_a_given_network_fills_its_rows_and_multicuts_only_with_forests(
    study: Study, tissue: Tissue
) -> None:
    sections = Sections(tissue.raw[:2], (tissue.cells[:2] > 0).astype(np.uint8))
    model = study.network((1, 2))
    given = given_networks([f"rc_spcnet_k2={model}"])
    scores = measured(sections, study.predictor, given)
    assert set(scores) == {"shipped", "rc_spcnet_k2"}
    assert set(scores["rc_spcnet_k2"]) == {"threshold", "mean TTA", "max TTA"}
    assert set(scores["shipped"]) == set(PAPER_WORDS)
    table = as_table(scores, "Table 1")
    filled = [row[:2] for row in table.rows if isinstance(row[2], float)]
    assert ("RC-SPCNet (k=2)", "max TTA") in filled
    assert ("RC-SPCNet (k=2)", "lifted multicut") not in filled


def test_all_networks_can_be_given_at_once_and_their_titles_tell_what_they_are(
    study: Study, tissue: Tissue, tmp_path: Path
) -> None:
    few = {"stem": 4, "widths": (4, 4), "width": 8}
    files = []
    for network in NETWORKS:
        known = REGISTRY[network.shape["architecture"]]
        fields = known.config.model_fields
        shape = known.configured(
            {**{key: value for key, value in few.items() if key in fields}, **network.shape}
        )
        card = {
            "halo_pixels": 0,
            "stride_pixels": shape.stride,
            "context_sections": shape.context_sections,
            "device": "cpu",
            "training": {"steps": 7},
        }
        path = tmp_path / f"{network.name}.safetensors"
        torch.manual_seed(0)
        save_model(path, known.build(shape), shape.model_dump(), card)
        files.append(f"{network.name}={path}")
    given = given_networks(files)
    part = Sections(tissue.raw[:1, :32, :32], (tissue.cells[:1, :32, :32] > 0).astype(np.uint8))
    scores = measured(part, study.predictor, given)
    assert list(scores) == [SHIPPED.name, *(network.name for network in NETWORKS)]
    made = {name: how_made(load_model(one.model)) for name, one in given.items() if one.model}
    rows = as_table(scores, "Table 1", made=made).rows[2:]
    for network in NETWORKS:
        title = f"{network.title}: {made[network.name]}"
        own = {str(row[1]): row[2:4] for row in rows if row[0] == title}
        assert title.endswith("7 steps on a CPU")
        assert [own[m] for m in scores[network.name]] == list(scores[network.name].values())
        assert own["multicut"] == (NOT_MEASURED, NOT_MEASURED)


def test_scores_of_a_map_are_the_best_over_thresholds(study: Study, tissue: Tissue) -> None:
    membranes = (tissue.cells[:2] > 0).astype(np.uint8)
    model = study.network((0,))
    config = study.predictor.configured(model, "max")
    boundaries = study.predictor.boundaries(tissue.raw[:2], config)
    cells = [1 - t / 100 for t in (1, 2, 3, *range(5, 100, 5))]
    rows = score_map(boundaries, truth_sections(membranes, kind="mask"), cells)
    found = map_scores(Sections(tissue.raw[:2], membranes), study.predictor, model)["max TTA"]
    assert found == (max(r.v_rand for r in rows), max(r.v_info for r in rows))


def test_a_map_is_predicted_once_for_each_network_and_augmentation(
    study: Study, tissue: Tissue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tissue.raw[:1]
    config = study.predictor.configured(study.network((0,)), "max")
    first = study.predictor.boundaries(raw, config)

    def predicted(*_: object, **__: object) -> None:
        raise AssertionError("predicted")

    monkeypatch.setattr("benchmarks.isbi2012_maps.reconstruct_array", predicted)
    (tmp_path / "sub").mkdir()
    moved = shutil.copy(study.network((0,)), tmp_path / "sub")
    same = study.predictor.configured(Path(moved), "max")
    np.testing.assert_array_equal(study.predictor.boundaries(raw, same), first)
    for other in (
        (raw, study.predictor.configured(study.network((0,)), "mean")),
        (raw[:, ::-1], config),
        (raw, study.predictor.configured(study.network((1,)), "max")),
    ):
        with pytest.raises(AssertionError, match="predicted"):
            study.predictor.boundaries(*other)


def test_stacks_hold_the_probability_of_cell_and_score_as_their_map_and_labels_do(
    study: Study, tissue: Tissue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, membranes = tissue.raw[:3], (tissue.cells[:3] > 0).astype(np.uint8)
    config = study.predictor.configured(augmentation="max")
    result = study.predictor.reconstructed(raw, config)
    first = submission(raw, study.predictor, tmp_path / "stacks")
    assert [(s.method, s.sections, s.height, s.width) for s in first] == [
        ("max TTA", 3, 72, 72),
        ("lifted multicut", 3, 72, 72),
    ]
    of_map, of_labels = (tifffile.imread(stack.path) for stack in first)
    assert of_map.dtype == of_labels.dtype == np.float32
    np.testing.assert_array_equal(np.rint(255 * (1 - of_map)), result["boundaries"])
    neurons = result["nodes"]["neuron"][
        np.searchsorted(result["nodes"]["id"], result["superpixels"])
    ]
    expected = np.stack([cell_mask(section) for section in neurons])
    np.testing.assert_array_equal(of_labels, expected)
    thresholds = [row.threshold for row in score_stack(first[0].path, membranes)]
    truth = truth_sections(membranes, kind="mask")
    at_half = thresholds.index(0.5)
    assert (
        score_stack(first[0].path, membranes)[at_half]
        == score_map(result["boundaries"], truth, [0.5])[0]
    )
    assert score_stack(first[1].path, membranes)[at_half].v_rand > 0.9

    made: list[str] = []
    reconstruct = Predictor.reconstructed

    def watched(self: Predictor, *given: Any, **more: Any) -> dict[str, Any]:
        made.append("again")
        return reconstruct(self, *given, **more)

    monkeypatch.setattr(Predictor, "reconstructed", watched)
    assert submission(raw, study.predictor, tmp_path / "stacks") == first
    assert not made
    first[0].path.write_bytes(first[1].path.read_bytes())
    assert submission(raw, study.predictor, tmp_path / "stacks") == first
    assert made == ["again"]


@pytest.mark.parametrize(
    ("stack", "reason"),
    [
        (np.linspace(0, 1, 32).reshape(2, 4, 4), "float64"),
        (np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4), "1 pages, not 2"),
        (np.linspace(0, 255, 32, dtype=np.float32).reshape(2, 4, 4), "0 to 255"),
        (np.zeros((2, 4, 4), np.float32), "0 to 0"),
        (np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 4, 3), r"\(4, 3\)"),
    ],
    ids=["dtype", "pages", "range", "constant", "shape"],
)
def test_a_stack_that_the_challenge_would_not_take_is_refused(
    tmp_path: Path, stack: np.ndarray, reason: str
) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    with pytest.raises(OutputError, match=reason):
        checked("map", tmp_path / "stack.tif", (2, 4, 4))


def test_segments_have_the_colour_of_the_object_that_covers_most_of_them() -> None:
    truth = np.array([[3, 3, 0, 9, 9]])
    split, merged = np.array([[1, 2, 0, 4, 4]]), np.array([[5, 5, 5, 5, 0]])
    assert covering(split, truth).tolist() == [[3, 3, 0, 9, 9]]
    assert covering(merged, truth).tolist() == [[3, 3, 3, 3, 0]]
    shown = coloured(truth)
    assert (shown[0, 0] == shown[0, 1]).all()
    assert (shown[0, 0] != shown[0, 3]).any()
    assert (shown[0, 2] == shown[0, 2, 0]).all()


@pytest.mark.slow
def test_the_quick_form_publishes_every_table_and_leaves_untrained_rows_empty(
    tmp_path: Path,
) -> None:
    tissue = paint_tissue((18, 256, 256), 600, z_step=4.0)
    data = write_data(tmp_path / "data", tissue)
    tifffile.imwrite(data / "isbi2012" / "raw_challenge_test.tif", tissue.raw[:3])
    base = save_network(tmp_path / "base.safetensors", None)
    forests = save_forests(tmp_path, base, tissue, ISBI2012.voxel_size_nm)
    config = tmp_path / "small.yaml"
    config.write_text(as_yaml(settings(base, forests, tile=(1, 256, 256))))
    output = tmp_path / "output"
    options = ["--data", str(data), "--output", str(output), "--config", str(config)]
    found = read(main([*options, "--base", str(base), "--quick"]))
    assert found.made.quick
    titles = [table.title for table in found.tables]
    assert titles == [
        "ISBI 2012, sections 14-16",
        "The paper's Table 1, on ISBI 2012, sections 14-16",
        "Networks of Table 1",
        "Stacks for the test sections",
        "Cross-validation, sections 0-1",
        "Cross-validation, by fold",
    ]
    ours = {row[0] for row in found.tables[1].rows if isinstance(row[2], float)}
    assert ours == {SHIPPED.title}
    assert len(found.tables[1].rows) == 2 + 10 * len(PAPER_WORDS)
    assert len(found.tables[4].rows) == 9
    assert all((output / f"isbi2012-{name}.png").is_file() for name in ("thresholds", "section"))
    assert [row[2] for row in found.tables[3].rows] == ["2 x 256 x 256"] * 2
    assert {row["method"] for row in found.values["rows"]} >= {"max TTA", "+ lifted multicut"}
