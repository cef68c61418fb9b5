"""The multicut by domains: levels of tasks, against the whole problem in memory."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import subgraphs
from pipeline.backend.partition import split_unconnected
from pipeline.cells import Cells, seeds
from pipeline.contract import Box, Resources, VolumeInfo
from pipeline.errors import InputError
from pipeline.held import HeldInputs
from pipeline.multicut import STAGE
from pipeline.multicut.at_once import partition
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.contraction import contract
from pipeline.multicut.costs import edge_costs, lifted_costs
from pipeline.multicut.domain_solver import problem_of
from pipeline.multicut.levels import LEVELS, LIFTED, PLAIN, Size, alone, levels, next_domains
from pipeline.multicut.problem import Problem
from pipeline.multicut.solvers import solve
from pipeline.tables import row_tasks
from workflows.parts import StoredParts, part_path, save_part

VOLUME = VolumeInfo((12, 60, 60), (10.0, 10.0, 10.0), "uint8")
RESOURCES = Resources(VOLUME)
BASE = {"beta": 0.5, "beta_lifted": 0.5, "lifted_weight": 1.0}


def config(**others):
    chosen = {"solve_at_once_edges": 40, "domain_nodes": 12, **BASE, **others}
    return MulticutConfig(**chosen).resolved(VOLUME)


def tables(n=90, seed=0, *, lifted=True, corner=False, reach=14):
    """Superpixels at random voxels, planted in clusters along x; edges between near ones."""
    rng = np.random.default_rng(seed)
    voxels = int(np.prod(VOLUME.shape))
    free = np.arange(voxels)
    if corner:
        free = free[(seeds(free + 1, VOLUME.shape) < 9).all(axis=1)]
    ids = np.sort(rng.choice(free, n, replace=False)) + 1
    zyx = seeds(ids.astype(np.uint64), VOLUME.shape)
    truth = zyx[:, 1] // 9 * 100 + zyx[:, 0] // 5
    pairs = np.array(list(itertools.combinations(range(n), 2)), np.int64).reshape(-1, 2)
    far = np.abs(zyx[pairs[:, 0]] - zyx[pairs[:, 1]]).max(axis=1)
    near = far < reach / 2
    beyond = ~near & (far < reach) & lifted

    def p_cut(uv):
        apart = truth[uv[:, 0]] != truth[uv[:, 1]]
        return np.clip(np.where(apart, 0.7, 0.3) + rng.normal(0, 0.25, len(uv)), 0, 1)

    return table_of(ids, pairs[near], p_cut(pairs[near]), pairs[beyond], p_cut(pairs[beyond]))


def table_of(ids, uv, p_cut, lifted_uv=(), lifted_p_cut=()):
    return {
        "nodes": {"id": np.asarray(ids, np.uint64)},
        "edges": {
            "uv": np.asarray(uv, np.uint64).reshape(-1, 2),
            "p_cut": np.asarray(p_cut, np.float32),
            "across_sections": np.zeros(len(uv), bool),
            "length_voxels": np.full(len(uv), 30, np.uint64),
        },
        "lifted": {
            "uv": np.asarray(lifted_uv, np.uint64).reshape(-1, 2),
            "p_cut": np.asarray(lifted_p_cut, np.float32),
        },
    }


def run(known, chosen, order=lambda tasks: tasks):
    """All steps, the tasks of each in any order; what they kept, and the columns of nodes."""
    kept = {}
    for step in STAGE.after:
        inputs = HeldInputs(known, kept)
        if step.tasks:
            count = step.tasks(inputs, chosen, RESOURCES)
        else:
            count = row_tasks(step.rows(inputs, chosen, RESOURCES))
        done = {t: step.compute(t, inputs, chosen, RESOURCES) for t in order(list(range(count)))}
        kept[step.name] = [done[t] for t in range(count)]
    columns = ("neuron", "multicut")
    nodes = {c: np.concatenate([o["nodes"][c] for o in kept["neurons"]]) for c in columns}
    return kept, nodes


def problems(known, chosen):
    costs = edge_costs(known["edges"], chosen)
    lifted = lifted_costs(known["lifted"], len(costs), chosen)
    n = len(known["nodes"]["id"])
    place = seeds(known["nodes"]["id"], VOLUME.shape).astype(float)
    uv, lifted_uv = known["edges"]["uv"], known["lifted"]["uv"]
    whole = Problem(n, uv, costs, lifted_uv, lifted, place)
    return {"multicut": whole.without_lifted, "neuron": whole}


def records(kept):
    return {
        "neuron" if part["solution"]["lifted"][0] else "multicut": part["solution"]
        for part in kept["rest"]
    }


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(30, 90),
    domain_nodes=st.sampled_from([6, 12, 40]),
    overlap=st.sampled_from([0.0, 0.12, 0.4]),
)
def test_neurons_are_connected_and_cost_what_the_last_contracted_problem_says(
    seed, n, domain_nodes, overlap
):
    known = tables(n, seed)
    chosen = config(domain_nodes=domain_nodes, domain_overlap=overlap)
    kept, nodes = run(known, chosen)
    for column, problem in problems(known, chosen).items():
        labels = nodes[column]
        assert np.unique(labels).tolist() == list(range(1, int(labels.max()) + 1))
        parts = split_unconnected(problem.uv, labels)
        assert len(np.unique(parts)) == labels.max()
        if len(kept["rest"]) == 2:
            record = records(kept)[column]
            assert problem.energy(labels) == pytest.approx(record["energy"][-1])
            assert record["neurons"][-1] == labels.max()


class StoredInputs(HeldInputs):
    """What tasks kept lies on disk, as in a run of the program."""

    def __init__(self, known, kept, folder):
        super().__init__(known)
        self._stored = {}
        for step, outputs in kept.items():
            paths = [part_path(folder / step, str(task)) for task in range(len(outputs))]
            for path in paths:
                path.parent.mkdir(exist_ok=True)
            saved = [save_part(path, o) for path, o in zip(paths, outputs, strict=True)]
            self._stored[step] = StoredParts(paths, saved)

    def parts(self, step):
        return self._stored[step]


def test_tasks_on_stored_parts_do_the_same(tmp_path):
    known, chosen = tables(90, 1), config(domain_nodes=30)
    kept, _ = run(known, chosen)
    inputs = StoredInputs(known, {k: v for k, v in kept.items() if k != "neurons"}, tmp_path)
    for step in STAGE.after:
        if step.tasks:
            assert step.tasks(inputs, chosen, RESOURCES) == len(kept[step.name])
        for task, expected in enumerate(kept[step.name]):
            found = step.compute(task, inputs, chosen, RESOURCES)
            for name, table in expected.items():
                for column, values in table.items():
                    if column != "seconds":
                        assert found[name][column].dtype == values.dtype
                        np.testing.assert_array_equal(found[name][column], values)


@pytest.mark.parametrize("chain", [PLAIN, LIFTED], ids=["plain", "lifted"])
def test_every_level_is_the_contraction_of_the_whole_problem(chain):
    known, chosen = tables(90, 3), config()
    kept, _ = run(known, chosen)
    problem = problems(known, chosen)[chain.column]
    count = len(levels(HeldInputs(known, kept), chain, chosen, VOLUME).domains)
    assert count >= 3
    for level in range(count):
        solved, contracted = kept[chain.solve_step(level)], kept[chain.contract_step(level)]
        labels, first = np.full(problem.number_of_nodes, 2**62, np.uint64), 0
        for part in solved:
            labels[part["mapping"]["row"]] = first + part["mapping"]["cluster"]
            first += len(part["clusters"]["id"])
        assert labels.max() == first - 1
        problem = contract(problem, labels)
        joined = {
            name: {c: np.concatenate([p[name][c] for p in contracted]) for c in ("uv", "cost")}
            for name in chain.pairs
        }
        found = problem_of(first, joined)
        for column in ("uv", "lifted_uv"):
            np.testing.assert_array_equal(getattr(found, column), getattr(problem, column))
        for column in ("costs", "lifted_costs"):
            np.testing.assert_allclose(getattr(found, column), getattr(problem, column), atol=1e-9)
        for column, total in (("all", found.energy(np.arange(first))), ("attractive", None)):
            kept_sum = sum(part["costs"][column][0] for part in contracted)
            assert total is None or kept_sum == pytest.approx(total)


def test_only_what_no_other_domain_holds_is_joined():
    known, chosen = tables(150, 5), config(domain_nodes=20, domain_overlap=0.2)
    kept, _ = run(known, chosen)
    known_levels = levels(HeldInputs(known, kept), PLAIN, chosen, VOLUME)
    ids, domains = known["nodes"]["id"], known_levels.domains[0]
    zyx = seeds(ids, VOLUME.shape)
    joined = 0
    for part in kept[PLAIN.solve_step(0)]:
        mapping = part["mapping"]
        size = np.bincount(mapping["cluster"])[mapping["cluster"]]
        for row in mapping["row"][size > 1]:
            held = 0
            for domain in range(domains.count):
                box = domains.box(domain)
                low = np.array(box.begin) - known_levels.overlap
                high = np.array(box.end) + known_levels.overlap
                held += bool(((zyx[row] >= low) & (zyx[row] < high)).all())
            assert held == 1
            joined += 1
    assert joined > 10


def test_neither_the_order_of_tasks_nor_stretches_change_the_result(monkeypatch):
    known, chosen = tables(90, 1), config()
    _, expected = run(known, chosen)
    rng = np.random.default_rng(0)
    _, shuffled = run(known, chosen, lambda tasks: rng.permutation(tasks).tolist())
    monkeypatch.setattr(subgraphs, "STRETCH", 60)
    kept, stretched = run(known, chosen)
    assert len(kept["scatter"]) > 5
    for column, labels in expected.items():
        assert shuffled[column].tolist() == labels.tolist()
        assert stretched[column].tolist() == labels.tolist()


def test_lifted_edges_do_not_change_the_multicut_without_them():
    known, chosen = tables(90, 2), config()
    _, both = run(known, chosen)
    none = {**known, "lifted": {name: column[:0] for name, column in known["lifted"].items()}}
    kept, plain = run(none, chosen)
    assert not kept[LIFTED.solve_step(0)]
    assert plain["neuron"].tolist() == plain["multicut"].tolist() == both["multicut"].tolist()
    assert plain["neuron"].tolist() != both["neuron"].tolist()
    assert run(known, config(lifted_weight=0))[1]["neuron"].tolist() == plain["neuron"].tolist()


def test_the_multicut_without_lifted_edges_can_be_left_out():
    known = tables(90, 2)
    kept, nodes = run(known, config(without_lifted=False))
    assert nodes["multicut"].tolist() == [0] * 90
    assert nodes["neuron"].tolist() == run(known, config())[1]["neuron"].tolist()
    assert not kept[PLAIN.solve_step(0)]


@pytest.mark.parametrize("limit", [2000, 10**9])
def test_a_small_problem_is_solved_as_it_is(limit):
    known, chosen = tables(90, 4), config(solve_at_once_edges=limit)
    kept, nodes = run(known, chosen)
    assert [name for name, parts in kept.items() if parts] == ["rest", "neurons"]
    found = partition(*known.values(), chosen, VOLUME)
    assert (nodes["neuron"] - 1).tolist() == found.labels.tolist()
    assert (nodes["multicut"] - 1).tolist() == found.multicut_labels.tolist()
    record = kept["rest"][0]["solution"]
    assert record["lifted"].tolist() == [0, 1]
    assert record["energy"].tolist() == [found.multicut.energy, found.lifted.energy]


def test_a_plain_problem_may_be_small_where_the_lifted_one_is_not():
    known = tables(90, 6)
    plain, lifted = (len(known[name]["uv"]) for name in ("edges", "lifted"))
    assert lifted > 40
    chosen = config(solve_at_once_edges=plain)
    kept, nodes = run(known, chosen)
    assert not kept[PLAIN.solve_step(0)]
    assert kept[LIFTED.solve_step(0)]
    found = solve("kernighan_lin", problems(known, chosen)["multicut"])
    assert (nodes["multicut"] - 1).tolist() == found.labels.tolist()


def test_a_solver_chosen_by_name_solves_the_whole_problem():
    known = tables(40, 7)
    kept, _ = run(known, config(solver="greedy_additive"))
    assert not kept["scatter"]
    kept, _ = run(known, config(solver="hierarchical"))
    assert kept["scatter"]


def test_the_energy_is_close_to_that_of_the_whole_problem():
    for seed in range(2):
        known, chosen = tables(300, seed, reach=10), config(domain_nodes=50)
        kept, nodes = run(known, chosen)
        assert len(records(kept)["neuron"]["level"]) > 2
        for column, problem in problems(known, chosen).items():
            best = solve("kernighan_lin", problem).energy
            assert problem.energy(nodes[column]) <= 0.985 * best < 0


def test_domains_may_be_empty():
    # all in one corner, but few enough nodes per domain that the grid is fine
    known, chosen = tables(60, 8, corner=True), config(domain_nodes=3)
    kept, nodes = run(known, chosen)
    assert sum(not len(p["mapping"]["row"]) for p in kept[LIFTED.solve_step(0)]) > 5
    problem = problems(known, chosen)["neuron"]
    best = solve("kernighan_lin", problem).energy
    assert problem.energy(nodes["neuron"]) == pytest.approx(best, rel=0.02)


def test_a_volume_without_edges_is_all_singles():
    known = table_of([3, 9, 400, 20_000], np.zeros((0, 2)), [])
    _, nodes = run(known, config(solve_at_once_edges=1, domain_nodes=1))
    assert nodes["neuron"].tolist() == [1, 2, 3, 4]


def test_a_hub_reaches_over_all_domains():
    # a node at the origin attracts every other one; the others have no other edges
    n = 60
    ids = np.linspace(1, np.prod(VOLUME.shape), n).astype(np.int64)
    uv = np.stack([np.zeros(n - 1, int), np.arange(1, n)], axis=1)
    chosen = config(domain_nodes=4, solve_at_once_edges=5, domain_overlap=0.0)
    kept, nodes = run(table_of(ids, uv, np.full(n - 1, 0.1)), chosen)
    assert len(records(kept)["multicut"]["level"]) > 2
    assert nodes["neuron"].tolist() == [1] * n
    p_cut = np.where(np.arange(1, n) % 2, 0.1, 0.9)
    _, nodes = run(table_of(ids, uv, p_cut), chosen)
    assert (nodes["neuron"] == nodes["neuron"][0]).tolist() == [True, *(p_cut < 0.5)]


def test_an_attractive_lifted_edge_beside_a_repulsive_one_is_summed_over_domains():
    # a chain of pairs along x: each pair is one cluster, and between pairs the regular edge
    # repels a little while lifted edges attract more
    ids = [1 + x for x in (0, 1, 30, 31)]
    chosen = config(domain_nodes=2, solve_at_once_edges=1, domain_overlap=0.0)
    lifted = [[0, 3], [0, 2], [1, 3]]
    known = table_of(ids, [[0, 1], [1, 2], [2, 3]], [0.01, 0.6, 0.01], lifted, [0.4] * 3)
    assert run(known, chosen)[1]["neuron"].tolist() == [1, 1, 1, 1]
    known = table_of(ids, [[0, 1], [1, 2], [2, 3]], [0.01, 0.6, 0.01], lifted, [0.6] * 3)
    assert run(known, chosen)[1]["neuron"].tolist() == [1, 1, 2, 2]


def test_a_bad_probability_is_named_by_its_row_in_the_whole_table(monkeypatch):
    monkeypatch.setattr(subgraphs, "STRETCH", 10)
    known = tables(60, 9)
    known["edges"]["p_cut"][25] = np.nan
    with pytest.raises(InputError, match=r"P\(cut\) of edge 25 is nan"):
        run(known, config())


def test_the_record_tells_sizes_of_levels_and_what_was_solved_in_one_process():
    known, chosen = tables(90, 10), config()
    kept, _ = run(known, chosen)
    record = records(kept)["neuron"]
    edges, lifted = len(known["edges"]["uv"]), len(known["lifted"]["uv"])
    assert record["level"].tolist() == list(range(1, len(record["level"]) + 1))
    assert (record["nodes"][0], record["edges"][0], record["lifted_edges"][0]) == (
        90,
        edges,
        lifted,
    )
    assert (np.diff(record["nodes"]) <= 0).all()
    assert record["domains"][-1] == 1
    assert (record["domains"][:-1] > 1).all()
    # what is decided later lies within the bound of every level before
    lowest = record["energy"][:-1] - record["improvement_bound"][:-1]
    assert (record["energy"][-1] >= lowest - 1e-9).all()


def test_memory_is_asked_for_where_there_are_tasks():
    known, chosen = tables(90, 11), config()
    kept, _ = run(known, chosen)
    inputs = HeldInputs(known, kept)
    for step in STAGE.after:
        if step.tasks and step.memory:
            tasks = step.tasks(inputs, chosen, RESOURCES)
            assert (step.memory(inputs, chosen, RESOURCES) > 0) == (tasks > 0)
    rest = next(step for step in STAGE.after if step.name == "rest")
    large = config(solve_at_once_edges=10**9)
    edges = len(known["edges"]["uv"]) + len(known["lifted"]["uv"])
    more = rest.memory(inputs, large, RESOURCES) - rest.memory(inputs, chosen, RESOURCES)
    left = records(kept)["neuron"]
    assert more == 400 * (edges - left["edges"][-1] - left["lifted_edges"][-1])


# Domains


def brute_cells(cells):
    """Cell of every voxel, by its box."""
    found = np.full(cells.volume_shape, -1)
    for cell in range(cells.count):
        where = found[cells.box(cell).slices]
        assert where.size
        assert (where == -1).all()
        where[...] = cell
    return found


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    shift=st.tuples(*[st.integers(0, 4)] * 3),
    begin=st.tuples(*[st.integers(-3, 5)] * 3),
    size=st.tuples(*[st.integers(1, 6)] * 3),
)
def test_shifted_cells_cover_every_voxel_once_and_know_what_a_box_touches(
    shape, shift, begin, size
):
    volume = (5, 7, 6)
    cells = Cells(volume, shape, tuple(t % s for s, t in zip(shape, shift, strict=True)))
    found = brute_cells(cells)
    voxels = np.stack(np.unravel_index(np.arange(found.size), volume), axis=1)
    assert cells.of_voxels(voxels).tolist() == found.ravel().tolist()
    end = tuple(max(b + s, 1) for b, s in zip(begin, size, strict=True))
    clipped = tuple(slice(max(b, 0), e) for b, e in zip(begin, end, strict=True))
    if found[clipped].size:
        box = Box(begin, end)
        assert cells.touched(box) == np.unique(found[clipped]).tolist()


def test_borders_of_a_level_lie_in_the_middle_of_the_domains_before():
    first = Cells((8, 64, 64), (8, 16, 16))
    second = next_domains(first, 1, Size(0, 1600, 0), 100, VolumeInfo((8, 64, 64), (1, 1, 1), ""))
    assert (second.shape, second.shift) == ((8, 16, 16), (0, 8, 8))
    third = next_domains(second, 2, Size(0, 1600, 0), 100, VolumeInfo((8, 64, 64), (1, 1, 1), ""))
    assert (third.shape, third.shift) == ((8, 32, 16), (0, 16, 0))


def test_domains_grow_as_far_as_they_hold_no_more_edges_than_at_first():
    volume = VolumeInfo((8, 64, 64), (1, 1, 1), "")
    first = Cells(volume.shape, (8, 16, 16))
    for edges, shape in ((801, (8, 16, 16)), (800, (8, 32, 16)), (400, (8, 32, 32))):
        assert next_domains(first, 1, Size(0, edges, 0), 100, volume).shape == shape
    assert next_domains(first, 1, Size(0, 60, 40), 100, volume).count == 1
    assert LEVELS >= 6


def test_a_node_is_alone_where_no_grown_neighbour_reaches():
    domains = Cells((1, 1, 20), (1, 1, 10))
    ids = np.arange(1, 11, dtype=np.uint64)
    assert alone(ids, domains, 0, (0, 0, 3)).tolist() == [True] * 7 + [False] * 3
    assert alone(ids + np.uint64(10), domains, 1, (0, 0, 3)).tolist() == [False] * 3 + [True] * 7
