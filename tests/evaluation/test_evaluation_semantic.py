import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

from pipeline.errors import InputError
from pipeline.evaluation import contingency
from pipeline.evaluation.semantic import semantic_scores


def table(truth, prediction):
    return contingency(np.asarray(truth), np.asarray(prediction), ignore_truth=())


def class_pairs(classes):
    return st.integers(1, 60).flatmap(
        lambda size: st.tuples(
            hnp.arrays(np.uint8, size, elements=st.integers(0, classes - 1)),
            hnp.arrays(np.uint8, size, elements=st.integers(0, classes - 1)),
        )
    )


def test_a_binary_case_known_by_hand():
    # TP 3, FP 1, FN 2, TN 4.
    scores = semantic_scores(table([1] * 5 + [0] * 5, [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]))
    cell = scores.classes[1]
    assert (cell.accuracy, cell.precision, cell.recall) == (0.7, 0.75, 0.6)
    assert (cell.f1, cell.jaccard, cell.conformity) == (6 / 9, 0.5, 0.0)
    assert scores.classes[0].conformity == 0.25
    assert scores.macro.conformity == 0.125
    assert scores.accuracy == 0.7


def test_a_class_that_is_never_found_has_no_conformity_and_scores_zero():
    scores = semantic_scores(table([2, 1, 1], [1, 1, 1]))
    lost = scores.classes[2]
    assert (lost.precision, lost.recall, lost.f1, lost.jaccard) == (0, 0, 0, 0)
    assert lost.conformity is None
    assert scores.macro.conformity is None


@pytest.mark.parametrize("classes", [2, 5, 6])
def test_scores_agree_with_scikit_learn(classes):
    @settings(deadline=None, max_examples=50)
    @given(class_pairs(classes))
    def check(pair):
        truth, prediction = pair
        scores = semantic_scores(table(truth, prediction))
        names = sorted(scores.classes)
        assert names == np.union1d(truth, prediction).tolist()
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            truth, prediction, labels=names, zero_division=0
        )
        jaccard = metrics.jaccard_score(
            truth, prediction, labels=names, average=None, zero_division=0
        )
        for column, expected in (
            ("precision", precision),
            ("recall", recall),
            ("f1", f1),
            ("jaccard", jaccard),
        ):
            found = [getattr(scores.classes[name], column) for name in names]
            assert found == pytest.approx(list(expected), abs=1e-12)
            assert getattr(scores.macro, column) == pytest.approx(np.mean(expected), abs=1e-12)
        assert scores.accuracy == pytest.approx(metrics.accuracy_score(truth, prediction))

    check()


def test_binary_dice_agrees_with_elf():
    elf = pytest.importorskip("elf.evaluation")
    truth, prediction = np.random.default_rng(0).integers(0, 2, (2, 4, 20, 20))
    found = semantic_scores(table(truth, prediction)).classes[1].f1
    assert found == pytest.approx(elf.dice_score(prediction, truth), abs=1e-6)


@settings(deadline=None)
@given(class_pairs(5), st.integers(0, 60), st.permutations(range(5)))
def test_blocks_merge_and_names_of_classes_do_not_matter(pair, cut, names):
    truth, prediction = pair
    whole = semantic_scores(table(truth, prediction))
    blocks = table(truth[:cut], prediction[:cut]).merge(table(truth[cut:], prediction[cut:]))
    assert semantic_scores(blocks) == whole
    renamed = semantic_scores(table(np.array(names)[truth], np.array(names)[prediction]))
    assert {names[name]: row for name, row in whole.classes.items()} == renamed.classes
    assert renamed.macro == whole.macro


def test_ids_become_two_classes_by_the_foreground_table():
    ids = table([0, 4, 4, 9, 0], [0, 7, 0, 7, 3]).foreground()
    assert semantic_scores(ids) == semantic_scores(table([0, 1, 1, 1, 0], [0, 1, 0, 1, 1]))


def test_ids_of_objects_are_refused_as_classes():
    ids = np.arange(300)
    with pytest.raises(InputError, match="300 values"):
        semantic_scores(table(ids, ids))
