from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.network_counts import macs_per_voxel, parameters, theoretical_field
from benchmarks.network_table import LABELS, counts, with_table
from pipeline.boundaries.networks import NETWORKS

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def test_multiplications_are_as_many_as_counted_by_hand() -> None:
    full = 9 * 24 + 9 * 24 * 24 + 9 * 24 * 2
    half = 9 * 24 * 4 * 24 / 4
    quarter = (9 * 24 * 64 + 24 * 64 + 3 * 9 * 64 * 64 + 9 * 64 * 4 * 24) / 16
    eighth = (9 * 64 * 128 + 64 * 128 + (1 + 2 + 8) * 9 * 128 * 128 + 9 * 128 * 4 * 64) / 64
    assert macs_per_voxel(NETWORKS["rc_spcnet"].config()) == full + half + quarter + eighth == 53576


def test_multiplications_of_several_sections_are_as_many_as_counted_by_hand() -> None:
    shape = NETWORKS["hybrid_u_net"].configured({"width": 8, "depth": 1, "flat_levels": 1})
    each = 3 * (9 * 8 + 2 * 9 * 8 * 8)
    coarse = (3 * (9 * 8 * 16 + 27 * 16 * 16 + 8 * 16) + 3 * 16 * 16 + 9 * 16 * 32) / 4
    assert macs_per_voxel(shape) == each + coarse + 2 * 9 * 8 * 8 + 9 * 8 * 2


@pytest.mark.parametrize(
    ("architecture", "shape", "field"),
    [
        # two convolutions, a pooled pixel to the side of a pair, two of twice the reach, two more
        ("u_net", {"depth": 1}, 2 + 4 + 2 + 1),
        ("u_net", {"depth": 4}, 30 + 32 + 30 + 15),
        # stem and unit, a strided convolution, two of twice the reach, unit and head, a phase
        ("hybrid_u_net", {"depth": 1, "flat_levels": 1}, 3 + 1 + 2 + 2 + 3 + 1),
    ],
)
def test_the_field_is_as_wide_as_counted_by_hand(
    architecture: str, shape: dict[str, object], field: int
) -> None:
    assert theoretical_field(NETWORKS[architecture].configured(shape)) == field


def test_the_page_names_every_network_as_it_is() -> None:
    assert LABELS.keys() == NETWORKS.keys()
    page = PAGE.read_text("utf-8")
    for name, known in NETWORKS.items():
        millions = f"{parameters(known.config()) / 1e6:.2f}"
        assert f"| {LABELS[name]} | `{name}` | small | {millions} |" in page


@pytest.mark.slow
def test_the_table_of_the_page_is_what_the_command_writes() -> None:
    page = PAGE.read_text("utf-8")
    assert with_table(page) == page


def test_counts_do_not_change_with_the_number_of_skips() -> None:
    known = NETWORKS["rcnet"]
    assert len({counts(known.configured({"context_skips": k}))[0] for k in (0, 1, 2)}) == 1
