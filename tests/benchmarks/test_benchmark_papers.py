"""The papers' numbers, spot by spot as they are printed."""

from __future__ import annotations

import pytest

from benchmarks.papers import PaperTable, paper_table


@pytest.mark.parametrize(
    ("number", "column", "words", "printed"),
    [
        (1, "V_rand", ("Cascaded RF",), 0.893902298),
        (1, "V_info", ("RCNet (k=2)", "Multicut"), 0.990630782),
        (1, "V_rand", ("RC-SPCNet (k=2)", "Mean TTA"), 0.981484972),
        (1, "V_rand", ("RC-SPCNet (k=2)", "Lifted multicut"), 0.987877739),
        (2, "V_info", ("MDC Berlin PatchPerPix",), 0.991641507),
        (2, "V_rand", ("human values",), 0.997847778),
        (2, "rank", ("Afshin Khadangi",), 10),
        (3, "stack3", ("PSPNet",), 0.7367),
        (3, "stack4", ("RC-SPCNet (Focal-loss)",), 0.9323),
        (3, "stack3", ("RC-SPCNet-LMC",), 0.9562),
        (4, "inference", ("ISBI",), 60),
        (4, "inference", ("Mouse Cortex",), 210),
        (4, "inference", ("Mouse ATUM-SEM",), 630),
        (4, "manual annotation", ("Mouse ATUM-SEM",), 473400),
        ("snemi3d", "Rand error", ("RC-SPCNet and lifted multicut",), 0.0801),
    ],
)
def test_a_number_is_the_printed_one(
    number: int | str, column: str, words: tuple[str, ...], printed: float
) -> None:
    assert paper_table("rc-spcnet", number).value(column, *words) == printed


@pytest.mark.parametrize(("number", "rows"), [(1, 12), (2, 12), (3, 9), (4, 3)])
def test_a_table_has_all_rows(number: int, rows: int) -> None:
    assert len(paper_table("rc-spcnet", number).rows) == rows


def test_training_and_inference_add_up_to_the_papers_total() -> None:
    table = paper_table("rc-spcnet", 4)
    for name, *_ in table.rows:
        parts = [table.value(column, str(name)) for column in ("training", "inference", "total")]
        assert parts[0] + parts[1] == parts[2]  # type: ignore[operator]


def test_words_that_name_several_rows_are_refused() -> None:
    with pytest.raises(KeyError, match="4 rows"):
        paper_table("rc-spcnet", 1).value("V_rand", "RCNet (k=2)")


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(KeyError, match="column F1"):
        paper_table("rc-spcnet", 3).value("F1", "SegNet")


def test_a_row_that_misses_a_column_is_refused() -> None:
    with pytest.raises(ValueError, match="2 columns"):
        PaperTable(title="t", source="s", columns=("a", "b"), rows=(("x",),))
