"""Statistics against slow references, and their exact union."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.features.samples import Samples
from pipeline.features.statistics import (
    BIN_WIDTH,
    BINS,
    QUANTILES,
    SAMPLE_MAX,
    SUMMARY,
    Statistics,
    summary,
)


def of_groups(groups):
    """Statistics of lists of samples 0..510, in one channel: a run of voxel pairs each."""
    lengths = np.array([len(g) for g in groups])
    values = np.concatenate(groups).astype(np.int64)
    channel = np.concatenate([values // 2, values - values // 2]).astype(np.uint8)
    samples = Samples(
        ids=np.arange(len(groups), dtype=np.uint64),
        first=np.arange(len(groups) + 1),
        start=np.cumsum(lengths) - lengths,
        step=np.full(len(groups), len(values)),
        length=lengths.astype(np.int32),
    )
    statistics = Statistics.unmeasured(samples, 1)
    statistics.measure(samples, 0, channel[:, None])
    return statistics


def groups_of(rng, count=40):
    return [
        np.clip(rng.normal(rng.uniform(0, 510), rng.uniform(1, 120), rng.integers(2, 400)), 0, 510)
        .round()
        .astype(np.int64)
        for _ in range(count)
    ]


def test_bins_cover_all_samples():
    assert SAMPLE_MAX // BIN_WIDTH == BINS - 1


def test_integers_match_numpy():
    groups = groups_of(np.random.default_rng(2))
    found = of_groups(groups)
    for row, group in enumerate(groups):
        assert found.count[row] == len(group)
        assert found.sums[row, 0].tolist() == [int((group**p).sum()) for p in (1, 2, 3, 4)]
        assert (found.low[row, 0], found.high[row, 0]) == (group.min(), group.max())
        slow = np.bincount(group // BIN_WIDTH, minlength=BINS)
        assert np.array_equal(found.histogram[row, 0], slow)


def test_more_samples_than_a_narrow_histogram_holds_are_counted():
    found = of_groups([np.full(70_000, 100)])
    assert found.histogram[0, 0, 100 // BIN_WIDTH] == 70_000
    assert found.sums[0, 0].tolist() == [70_000 * 100**p for p in (1, 2, 3, 4)]


def test_statistics_of_no_channel_have_a_count_and_no_column():
    samples = Samples(
        np.array([3], np.uint64),
        np.array([0, 2]),
        np.array([0, 9]),
        np.array([1, 1]),
        np.array([4, 2], np.int32),
    )
    found = Statistics.unmeasured(samples, 0)
    assert found.count.tolist() == [6]
    assert summary(found).shape == (1, 0)


def test_moments_match_scipy():
    groups = groups_of(np.random.default_rng(0))
    table = dict(zip(SUMMARY, summary(of_groups(groups)).T, strict=True))
    fractions = [g / SAMPLE_MAX for g in groups]
    for name, slow in {
        "mean": np.mean,
        "std": np.std,
        "skewness": stats.skew,
        "kurtosis": stats.kurtosis,
        "min": np.min,
        "max": np.max,
    }.items():
        assert table[name] == pytest.approx([slow(f) for f in fractions], rel=1e-5, abs=1e-6), name


def test_quantiles_are_within_a_bin():
    groups = groups_of(np.random.default_rng(1))
    table = dict(zip(SUMMARY, summary(of_groups(groups)).T, strict=True))
    for q in QUANTILES:
        slow = [np.quantile(g, q, method="inverted_cdf") for g in groups]
        error = np.abs(table[f"q{round(100 * q)}"] * SAMPLE_MAX - slow)
        assert error.max() <= BIN_WIDTH


def test_nearly_constant_samples_lose_nothing_to_cancellation():
    samples = np.full(100_000, 509)
    samples[0] = 510
    table = dict(zip(SUMMARY, summary(of_groups([samples]))[0], strict=True))
    assert table["std"] == pytest.approx(np.std(samples) / SAMPLE_MAX, rel=1e-6)
    assert table["skewness"] == pytest.approx(stats.skew(samples), rel=1e-5)
    assert table["kurtosis"] == pytest.approx(stats.kurtosis(samples), rel=1e-5)


@pytest.mark.parametrize("samples", [[0], [510], [37] * 1000])
def test_constant_samples_have_no_spread_and_no_shape(samples):
    table = dict(zip(SUMMARY, summary(of_groups([np.array(samples)]))[0], strict=True))
    assert table["std"] == table["skewness"] == table["kurtosis"] == 0
    level = np.float32(samples[0] / SAMPLE_MAX)
    assert {table[n] for n in ("mean", "min", "max", "q10", "q50", "q90")} == {level}


@settings(max_examples=40, deadline=None)
@given(
    samples=st.lists(st.integers(0, 510), min_size=3, max_size=60),
    cuts=st.lists(st.integers(1, 59), max_size=5),
    seed=st.integers(0, 99),
)
def test_parts_add_up_to_the_whole_in_any_order(samples, cuts, seed):
    parts = [p for p in np.split(np.array(samples), sorted(set(cuts))) if len(p)]
    np.random.default_rng(seed).shuffle(parts := list(parts))
    total = Statistics.empty(1, 1)
    for part in parts:
        total.add(np.array([0]), of_groups([part]))
    for name, column in of_groups([np.array(samples)]).table().items():
        assert np.array_equal(getattr(total, name), column), name
