from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.errors import InputError
from pipeline.views import files, neurons_3d, save_pictures
from pipeline.views.files import save_picture
from pipeline.views.montage import Panel, bar_length_nm, length_text, montage
from pipeline.views.pictures import plane_panels
from pipeline.views.shrinking import shrink_factors, shrink_image, shrink_labels


@pytest.fixture(autouse=True)
def _small_renderings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neurons_3d, "PIXELS", 150)
    monkeypatch.setattr(files, "DOTS_PER_INCH", 60)


VOXEL = (50.0, 4.0, 4.0)


def make_plane(height: int, width: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    labels = (1 + y // 5 + 100 * (x // 7)).astype(np.uint64)
    return {
        "raw": rng.integers(0, 256, (height, width)).astype(np.uint8),
        "boundaries": rng.integers(0, 256, (height, width)).astype(np.uint8),
        "superpixels": labels,
        "neurons": labels // 2,
        "truth": labels // 3,
    }


def test_writes_every_picture_at_its_size(tmp_path: Path) -> None:
    plane = make_plane(30, 44)
    cut = {name: array[:6] for name, array in plane.items()}
    volume = np.zeros((6, 30, 44), np.uint64)
    volume[1:5, 5:20, 5:30] = 3
    volume[2:4, 22:28, 5:40] = 8
    paths = save_pictures(
        tmp_path / "new", section=plane, z=3, voxel_size_nm=VOXEL, cut=cut, neurons=volume
    )
    names = {path.name for path in paths}
    assert names == {f"{name}.png" for name in plane} | {
        "overview.png",
        "overview_xz.png",
        "neurons_3d.png",
    }
    assert names == {path.name for path in (tmp_path / "new").iterdir()}
    for name in plane:
        assert imread(tmp_path / "new" / f"{name}.png").shape[:2] == (30, 44)
    assert min(imread(tmp_path / "new" / "overview.png").shape[:2]) > 200


def test_saved_pixels_are_the_drawn_pixels(tmp_path: Path) -> None:
    plane = make_plane(12, 17)
    save_pictures(tmp_path, section=plane, z=0, voxel_size_nm=VOXEL)
    saved = np.rint(255 * imread(tmp_path / "boundaries.png")[..., :3]).astype(np.uint8)
    assert np.array_equal(saved, np.repeat(plane["boundaries"][..., None], 3, axis=2))


def test_inputs_are_not_changed(tmp_path: Path) -> None:
    plane = make_plane(24, 20)
    volume = np.kron(plane["neurons"][None, ::4, ::4], np.ones((3, 4, 4), np.uint64))
    before = {name: array.copy() for name, array in plane.items()}
    volume_before = volume.copy()
    for array in (*plane.values(), volume):
        array.flags.writeable = False
    save_pictures(tmp_path, section=plane, z=1, voxel_size_nm=VOXEL, cut=plane, neurons=volume)
    for name, array in plane.items():
        assert np.array_equal(array, before[name])
    assert np.array_equal(volume, volume_before)


@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (3, 90), (90, 3)])
def test_odd_shapes_work(tmp_path: Path, shape: tuple[int, int]) -> None:
    plane = make_plane(*shape)
    one_section = {name: array[:1] for name, array in plane.items()}
    paths = save_pictures(
        tmp_path,
        section=plane,
        z=0,
        voxel_size_nm=VOXEL,
        cut=one_section,
        neurons=plane["neurons"][None] + 1,
    )
    assert all(path.stat().st_size > 0 for path in paths)


def test_a_volume_without_neurons_has_an_empty_picture(tmp_path: Path) -> None:
    plane = {"raw": np.zeros((8, 8), np.float32)}
    empty = np.zeros((4, 8, 8), np.uint64)
    save_pictures(tmp_path, section=plane, z=0, voxel_size_nm=VOXEL, neurons=empty)
    assert (tmp_path / "neurons_3d.png").exists()


def test_raw_alone_is_enough_and_others_come_in_order() -> None:
    plane = make_plane(10, 10)
    assert list(plane_panels({"raw": plane["raw"]})) == ["raw"]
    backwards = dict(reversed(plane.items()))
    assert list(plane_panels(backwards)) == list(plane)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neuron": np.zeros((9, 9))}, "know raw"),
        ({"raw": None}, "need raw"),
        ({"truth": np.zeros((9, 8), int)}, "one shape"),
    ],
    ids=["unknown name", "no raw", "another shape"],
)
def test_wrong_planes_are_refused(change: dict[str, np.ndarray | None], message: str) -> None:
    plane = {**make_plane(9, 9), **change}
    with pytest.raises(InputError, match=message):
        plane_panels({name: array for name, array in plane.items() if array is not None})


def test_huge_planes_are_shrunk_below_2048() -> None:
    raw = np.zeros((5, 5000), np.uint8)
    panels = plane_panels({"raw": raw, "neurons": raw.astype(np.uint64)})
    assert panels["raw"].picture.shape == panels["neurons"].picture.shape == (5, 1667, 3)


def test_images_shrink_by_mean_and_labels_by_their_middle() -> None:
    image = np.array([[0, 2, 10, 20, 7]], np.uint8)
    labels = np.array([[1, 2, 3, 4, 5]], np.uint64)
    assert shrink_factors((1, 5), largest=3) == (1, 2)
    assert shrink_image(image, (1, 2)).tolist() == [[1, 15, 7]]
    assert shrink_labels(labels, (1, 2)).tolist() == [[2, 4, 5]]


def test_shrinking_both_axes_is_the_mean_of_each_cell() -> None:
    image = np.arange(7 * 5, dtype=np.float32).reshape(7, 5)
    shrunk = shrink_image(image, (3, 2))
    expected = [
        [image[r : r + 3, c : c + 2].mean() for c in range(0, 5, 2)] for r in range(0, 7, 3)
    ]
    np.testing.assert_allclose(shrunk, expected)


@pytest.mark.parametrize(
    ("width_nm", "bar", "text"),
    [(100, 20, "20 nm"), (2048, 500, "500 nm"), (6144, 1000, "1 µm"), (40_000, 10_000, "10 µm")],
)
def test_scale_bar_is_a_round_length(width_nm: float, bar: float, text: str) -> None:
    assert bar_length_nm(width_nm) == pytest.approx(bar)
    assert length_text(bar_length_nm(width_nm)) == text


def test_panels_keep_the_physical_aspect() -> None:
    panel = Panel("one", np.zeros((20, 100, 3), np.uint8))
    figure = montage([panel], (20 * 50.0, 100 * 12.0), "heading")
    box = figure.axes[0].get_position()
    page = figure.get_size_inches()
    assert box.height * page[1] / (box.width * page[0]) == pytest.approx(1000 / 1200)


def test_scale_bar_has_its_length_in_the_panel() -> None:
    figure = montage([Panel("one", np.zeros((9, 9, 3), np.uint8))], (2000.0, 2048.0), "heading")
    assert any(patch.get_width() == pytest.approx(500) for patch in figure.axes[0].patches)


def test_a_failed_picture_leaves_the_old_one_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "raw.png"
    save_picture(path, np.zeros((4, 4, 3), np.uint8))
    before = path.read_bytes()
    with pytest.raises((ValueError, TypeError)):
        save_picture(path, np.zeros((4, 4, 7), np.uint8))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["raw.png"]
