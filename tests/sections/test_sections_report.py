"""What people are told of a volume's defects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.corrections import Corrections
from pipeline.sections.report import describe


def table_of(**changes: Any) -> dict[str, Any]:
    depth = 12
    none = Corrections.none(depth, 10.0, 200.0).table()
    table = {
        **none,
        "state": np.zeros(depth, np.uint8),
        "slip": np.zeros((depth, 2), np.int64),
        "drift": np.zeros(depth, bool),
        "dark": np.full(depth, 0.6),
    }
    for name, rows in changes.items():
        table[name] = table[name].copy()
        for z, value in rows.items():
            table[name][z] = value
    return table


def test_nothing_is_said_of_a_volume_without_defects() -> None:
    assert describe(table_of()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"state": {3: 1, 4: 1, 5: 1, 6: 1}},
            ["sections 3-6 are empty: taken for background"],
        ),
        (
            {"state": {0: 1, 3: 1, 4: 1}, "source": {3: 2, 4: 5}},
            ["sections 3-4 are empty: bridged by 2, 5", "section 0 is empty: taken for background"],
        ),
        (
            {"state": {7: 4}, "source": {7: 6}},
            ["section 7 is excluded by sections.bad: bridged by 6"],
        ),
        (
            {"state": {2: 3, 9: 3}},
            ["sections 1 and 2, 8 and 9 are near duplicates: kept"],
        ),
        (
            {"drift": {2: True}},
            ["section 2 is of other brightness or contrast: its grey values are adjusted"],
        ),
        (
            {"slip": {2: (5, -12), 3: (-5, 12)}, "place": {2: (5, -12)}},
            ["slips aside (y, x voxels) at sections 2 (+5, -12), 3 (-5, +12): followed"],
        ),
        (
            {"slip": dict.fromkeys(range(1, 10), (9, 0))},
            [
                "slips aside (y, x voxels) at sections 1 (+9, +0), 2 (+9, +0), 3 (+9, +0), "
                "4 (+9, +0), 5 (+9, +0), 6 (+9, +0), and 3 more: not followed"
            ],
        ),
        (
            {"dark": dict.fromkeys(range(12), 0.4)},
            ["membranes look bright, but are taken for dark as sections.contrast says"],
        ),
        ({"dark": dict.fromkeys(range(12), 0.5)}, []),
    ],
)  # fmt: skip
def test_every_defect_has_a_sentence(changes: Any, expected: list[str]) -> None:
    assert describe(table_of(**changes)) == expected
