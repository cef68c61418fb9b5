from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from skimage.measure import label
from skimage.segmentation import find_boundaries

from pipeline.errors import InputError
from pipeline.synthesis import SynthesisConfig, Synthetic, synthesise

SSTEM, CUBES = (50.0, 4.0, 4.0), (8.0, 8.0, 8.0)


@pytest.fixture(scope="module", params=[SSTEM, CUBES], ids=["thick sections", "cubes"])
def stack(request: pytest.FixtureRequest) -> Synthetic:
    return synthesise((8, 160, 200), voxel_size_nm=request.param, rng=np.random.default_rng(1))


def test_same_seed_gives_the_same_stack() -> None:
    first, again, other = (
        synthesise((3, 80, 112), voxel_size_nm=SSTEM, rng=np.random.default_rng(seed))
        for seed in (5, 5, 6)
    )
    assert np.array_equal(first.raw, again.raw)
    assert np.array_equal(first.neurons, again.neurons)
    assert (first.raw != other.raw).mean() > 0.5
    assert not np.array_equal(first.neurons, other.neurons)


def test_ids_are_dense_and_consecutive(stack: Synthetic) -> None:
    assert stack.neurons.dtype == np.uint64
    ids = np.unique(stack.neurons)
    assert ids.tolist() == list(range(1, len(ids) + 1))
    assert len(ids) > 10


def test_membranes_are_darker_than_cytoplasm(stack: Synthetic) -> None:
    membrane = np.stack([find_boundaries(section, mode="thick") for section in stack.neurons])
    assert stack.raw.dtype == np.uint8
    for raw, border in zip(stack.raw, membrane, strict=True):
        assert raw[border].mean() < raw[~border].mean() - 35


def test_grey_values_use_the_range_without_clipping_much(stack: Synthetic) -> None:
    assert 95 < stack.raw.mean() < 160
    assert 25 < stack.raw.std() < 60
    assert np.isin(stack.raw, (0, 255)).mean() < 0.01


def test_profiles_of_a_neuron_overlap_from_each_section_to_the_next(stack: Synthetic) -> None:
    for neuron in np.unique(stack.neurons):
        profile = stack.neurons == neuron
        present = np.flatnonzero(profile.any(axis=(1, 2)))
        assert np.array_equal(present, np.arange(present[0], present[-1] + 1))
        for z in present[:-1]:
            assert (profile[z] & profile[z + 1]).any()


def test_every_neuron_is_connected_through_faces(stack: Synthetic) -> None:
    parts = label(stack.neurons.astype(np.int64), connectivity=1)
    assert parts.max() == stack.neurons.max()


def test_most_neurons_cross_the_whole_stack(stack: Synthetic) -> None:
    first, last = np.unique(stack.neurons[0]), np.unique(stack.neurons[-1])
    assert len(np.intersect1d(first, last)) > 0.6 * len(first)


def test_neurons_move_from_section_to_section(stack: Synthetic) -> None:
    changed = [(a != b).mean() for a, b in zip(stack.neurons, stack.neurons[1:], strict=False)]
    assert min(changed) > 0.002
    assert (stack.neurons[0] != stack.neurons[-1]).mean() > np.mean(changed)


@pytest.mark.parametrize("shape", [(1, 40, 56), (2, 8, 8), (5, 1, 30), (1, 1, 1)])
def test_odd_shapes_work(shape: tuple[int, int, int]) -> None:
    made = synthesise(shape, voxel_size_nm=SSTEM, rng=np.random.default_rng(0))
    assert made.raw.shape == made.neurons.shape == shape
    assert made.neurons.min() == 1


def test_thicker_membranes_leave_less_cytoplasm() -> None:
    thin, thick = (
        synthesise(
            (1, 128, 128),
            voxel_size_nm=SSTEM,
            rng=np.random.default_rng(2),
            config=SynthesisConfig.model_validate({"membrane_nm": nm}),
        )
        for nm in (15, 60)
    )
    assert np.array_equal(thin.neurons, thick.neurons)
    assert (thick.raw < 90).mean() > (thin.raw < 90).mean() + 0.1


def test_mitochondria_are_dark_areas_away_from_membranes() -> None:
    none, many = (
        synthesise(
            (1, 200, 200),
            voxel_size_nm=SSTEM,
            rng=np.random.default_rng(4),
            config=SynthesisConfig.model_validate({"organelles": {"mitochondria": amount}}),
        )
        for amount in (0, 10)
    )
    inside = ~find_boundaries(many.neurons[0], mode="thick")
    assert (many.raw[0][inside] < 90).mean() > (none.raw[0][inside] < 90).mean() + 0.03


@pytest.mark.parametrize(
    ("shape", "voxel_size_nm"), [((0, 4, 4), SSTEM), ((2, 4, 4), (50.0, 0.0, 4.0))]
)
def test_impossible_sizes_are_refused(
    shape: tuple[int, int, int], voxel_size_nm: tuple[float, float, float]
) -> None:
    with pytest.raises(InputError, match="must be positive"):
        synthesise(shape, voxel_size_nm=voxel_size_nm, rng=np.random.default_rng(0))


def test_a_misspelt_parameter_is_refused() -> None:
    with pytest.raises(ValidationError):
        SynthesisConfig.model_validate({"organelles": {"mitochondrias": 1}})
