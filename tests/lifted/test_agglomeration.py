"""Heights of agglomerations against hand-known graphs, slow references and bioimage_cpp."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backend.partition import Partitioning, consecutive
from pipeline.lifted.agglomeration import SIZE_STEPS, greedy_additive, mean_linkage
from pipeline.lifted.bottleneck import minimum_linkage


def step_of(size):
    """The largest step that is not above the size."""
    return float(max(step for step in SIZE_STEPS.tolist() if step <= size))


def reference_heights(uv, values, lengths, sizes, exponent, pairs):
    """One contraction at a time, each found by looking at every edge."""
    edges = {
        frozenset(pair): (value * length, length, row)
        for row, (pair, value, length) in enumerate(
            zip(uv.tolist(), values.tolist(), lengths.tolist(), strict=True)
        )
    }
    sizes = dict(enumerate(sizes.tolist()))
    cluster = {node: node for node in sizes}
    height = {}

    def priority(pair):
        total, length, row = edges[pair]
        regularisers = sum(step_of(sizes[node]) ** -exponent for node in pair)
        return total / length * 2 / regularisers, row

    while edges:
        best = min(edges, key=priority)
        a, b = sorted(best)
        total, length, _ = edges.pop(best)
        for x, y in itertools.permutations(cluster, 2):
            if (cluster[x], cluster[y]) == (a, b):
                height[x, y] = height[y, x] = total / length
        cluster = {node: a if c == b else c for node, c in cluster.items()}
        sizes[a] += sizes.pop(b)
        for pair in [p for p in edges if b in p]:
            total, length, row = edges.pop(pair)
            moved = frozenset({a, *pair} - {b})
            other = edges.get(moved, (0.0, 0.0, row))
            edges[moved] = (other[0] + total, other[1] + length, min(other[2], row))
    return [height.get(pair, np.inf) for pair in map(tuple, pairs.tolist())]


def random_problem(n, density, seed, ties=False):
    rng = np.random.default_rng(seed)
    uv = np.array(list(itertools.combinations(range(n), 2)), np.uint64)
    uv = uv[rng.random(len(uv)) < density]
    values = rng.integers(0, 4, len(uv)) / 4 if ties else rng.random(len(uv))
    return uv, values, rng.integers(1, 9, len(uv)), rng.integers(1, 1000, n)


def all_pairs(n):
    return np.array(list(itertools.combinations(range(n), 2)))


problems = st.tuples(
    st.integers(2, 14), st.floats(0.1, 0.9), st.integers(0, 2**32 - 1), st.booleans()
)


@settings(max_examples=60, deadline=None)
@given(problems, st.sampled_from([0.0, 0.1, 0.7]))
def test_heights_of_all_pairs_equal_the_slow_reference(problem, exponent):
    arguments = (*random_problem(*problem), exponent)
    pairs = all_pairs(problem[0])
    heights = mean_linkage(*arguments).heights_of(pairs)
    assert heights.tolist() == reference_heights(*arguments, pairs)


def test_parallel_edges_are_weighed_by_their_length():
    uv = np.array([[0, 1], [0, 2], [1, 2]], np.uint64)  # 0 and 1 join; 2 hangs on both
    tree = mean_linkage(uv, np.array([0.1, 0.2, 0.8]), np.array([9, 30, 10]), np.ones(3, int), 0)
    assert tree.heights_of(all_pairs(3)).tolist() == pytest.approx([0.1, 0.35, 0.35])


def test_size_lets_a_small_superpixel_join_first():
    uv = np.array([[0, 1], [0, 3], [1, 2]], np.uint64)
    values, lengths, sizes = np.array([0.2, 0.9, 0.3]), np.ones(3), np.array([4096, 4096, 1, 1])
    plain = mean_linkage(uv, values, lengths, sizes, 0)
    assert plain.heights.tolist() == [0.2, 0.3, 0.9]
    # priorities: .2 * 64, .9 * 2 / (1 + 1 / 64), .3 * 2 / (1 + 1 / 64)
    assert mean_linkage(uv, values, lengths, sizes, 0.5).heights.tolist() == [0.3, 0.9, 0.2]


def test_of_equal_edges_the_first_row_is_contracted_first():
    uv = np.array([[1, 2], [0, 1], [2, 3]], np.uint64)
    tree = mean_linkage(uv, np.full(3, 0.5), np.ones(3), np.ones(4, int), 0)
    assert tree.time[[0, 3]].tolist() == [1, 2]  # after 1 and 2, which joined at time 0


def test_average_linkage_rises_with_time_and_never_below_the_bottleneck():
    n = 200
    uv, values, lengths, sizes = random_problem(n, 0.05, 3)
    pairs = all_pairs(n)
    tree = mean_linkage(uv, values, lengths, sizes, 0)
    assert (np.diff(tree.heights) >= -1e-12).all()
    lowest = minimum_linkage(n, uv, values).heights_of(pairs)
    assert (tree.heights_of(pairs) >= lowest - 1e-12).all()
    assert (tree.heights_of(pairs) > lowest + 0.01).any()


@pytest.mark.parametrize("exponent", [0.0, 0.3])
def test_the_order_of_nodes_and_edges_changes_only_names(exponent):
    n = 60
    uv, values, lengths, sizes = random_problem(n, 0.1, 7)
    rng = np.random.default_rng(1)
    name, shuffle, pairs = rng.permutation(n), rng.permutation(len(uv)), all_pairs(n)
    renamed = np.empty_like(sizes)
    renamed[name] = sizes
    other = mean_linkage(name[uv[shuffle].astype(int)], values[shuffle], lengths[shuffle], renamed,
                         exponent)  # fmt: skip
    np.testing.assert_allclose(
        other.heights_of(name[pairs]),
        mean_linkage(uv, values, lengths, sizes, exponent).heights_of(pairs),
        rtol=1e-12,
    )


@settings(max_examples=60, deadline=None)
@given(problems)
def test_greedy_additive_equals_that_of_bioimage_cpp(problem):
    n, density, seed, _ = problem
    uv = random_problem(n, density, seed)[0]
    costs = np.random.default_rng(seed).normal(size=len(uv))
    labels = greedy_additive(n, uv, costs).labels()
    expected = Partitioning(n, uv, costs).greedy_additive()
    assert consecutive(labels).tolist() == expected.tolist()


def test_greedy_additive_stops_where_nothing_attracts():
    uv = np.array([[0, 1], [0, 2], [1, 2], [3, 4]], np.uint64)  # 2: +1 and -3 to the pair 0, 1
    tree = greedy_additive(6, uv, np.array([2.0, 1.0, -3.0, 0.0]))
    assert tree.heights.tolist() == [-2.0]
    assert tree.heights_of(np.array([[0, 1], [0, 2], [3, 4]])).tolist() == [-2, np.inf, np.inf]
    assert consecutive(tree.labels()).tolist() == [0, 0, 1, 2, 3, 4]


def test_a_large_hub_is_contracted_without_a_second_look_at_all_its_edges():
    """50,000 leaves of equal priority: work that grows with their square would not end."""
    leaves = 50_000
    uv = np.stack([np.zeros(leaves, int), np.arange(1, leaves + 1)], 1).astype(np.uint64)
    tree = mean_linkage(uv, np.full(leaves, 0.25), np.ones(leaves), np.ones(leaves + 1, int), 0.5)
    assert (tree.heights == 0.25).all()
    assert len(tree.heights) == leaves
    attracted = greedy_additive(leaves + 1, uv, np.where(np.arange(leaves) % 2, 1.0, -1.0))
    assert len(attracted.heights) == leaves // 2


@pytest.mark.parametrize("n", [0, 1, 3])
def test_without_edges_nothing_is_joined(n):
    none = np.zeros((0, 2), np.uint64)
    tree = mean_linkage(none, np.zeros(0), np.zeros(0), np.ones(n, int), 0.5)
    assert tree.labels().tolist() == list(range(n))
    assert greedy_additive(n, none, np.zeros(0)).labels().tolist() == list(range(n))


def test_inputs_stay_as_they_were():
    uv, values, lengths, sizes = random_problem(20, 0.3, 0)
    given_ = [a.astype(t) for a, t in zip((uv, values, lengths, sizes),
              (np.int64, np.float64, np.float64, np.int64), strict=True)]  # fmt: skip
    copies = [a.copy() for a in given_]
    mean_linkage(*given_, 0.5)
    greedy_additive(20, given_[0], given_[1])
    for before, after in zip(copies, given_, strict=True):
        np.testing.assert_array_equal(before, after)
