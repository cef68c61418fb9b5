"""An import killed anywhere goes on and ends with the same files; others start anew."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from import_sources import SIZE, foreign_of, format_of

from pipeline.contract import Box
from pipeline.errors import InputError, OutputError, ResourceError, StoreError
from pipeline.store.importers import cutting, destination, import_volume, importing, locating
from pipeline.store.importers.destination import Destination, partial_folder

DATA = np.random.default_rng(3).integers(0, 256, (5, 150, 100), dtype=np.uint8)


def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "FILE_DEPTHS", (4,))
    monkeypatch.setattr(cutting, "FILE_SIDES", (128,))
    monkeypatch.setattr(cutting, "BOX_BYTES", 4 * 128 * 128)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    small_files(monkeypatch)
    np.save(tmp_path / "a.npy", DATA)
    return tmp_path / "a.npy"


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(source: Path, target: Path, **options: Any) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    import_volume(
        source,
        target,
        **{"voxel_size_nm": SIZE, "progress": lambda *told: seen.append(told), **options},
    )
    return seen


class Stop(Exception):
    """In place of a kill."""


def stop_after(count: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == count:
            raise Stop

    return progress


def test_stopped_after_any_block_it_goes_on_from_there(source: Path, tmp_path: Path) -> None:
    expected_blocks = run(source, tmp_path / "whole.zarr")
    total = len(expected_blocks)
    assert expected_blocks == [(n, total) for n in range(1, total + 1)]
    expected = files_of(tmp_path / "whole.zarr")
    target = tmp_path / "b.zarr"
    for count in range(1, total + 1):
        with pytest.raises(Stop):
            run(source, target, progress=stop_after(count))
        assert not target.exists()
        seen = run(source, target)
        assert [done for done, _ in seen] == list(range(count + 1, total + 1))
        assert files_of(target) == expected
        assert not partial_folder(target).exists()
        shutil.rmtree(target)


KILLED = """
import os, signal, sys
from pipeline.store.importers import cutting, import_volume, importing
cutting.FILE_DEPTHS, cutting.FILE_SIDES, cutting.BOX_BYTES = (4,), (128,), 4 * 128 * 128
left = int(sys.argv[3])

def killed(open_file):
    def replace(self, target):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return open_file(self, target)
    return replace

from pathlib import Path
Path.replace = killed(Path.replace)
import_volume(sys.argv[1], sys.argv[2], voxel_size_nm=(50, 4, 4))
"""


def test_killed_in_the_middle_of_writing_a_file_it_goes_on(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "whole.zarr")
    target = tmp_path / "b.zarr"
    command = [sys.executable, "-c", KILLED, str(source), str(target), "6"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not target.exists()
    assert list(partial_folder(target).rglob("*.partial")), "a file is half-written"
    assert len(run(source, target)) < len(run(source, tmp_path / "other.zarr"))
    assert files_of(target) == files_of(tmp_path / "whole.zarr")


def test_a_file_that_is_empty_is_written_again(source: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(source, tmp_path / "b.zarr", progress=stop_after(3))
    first = partial_folder(tmp_path / "b.zarr") / "image" / "0" / "c" / "0" / "0" / "0"
    first.write_bytes(b"")
    run(source, tmp_path / "b.zarr")
    run(source, tmp_path / "whole.zarr")
    assert files_of(tmp_path / "b.zarr") == files_of(tmp_path / "whole.zarr")


@pytest.mark.parametrize(
    "options",
    [{"voxel_size_nm": (40.0, 4.0, 4.0)}, {"axes": "zxy"}, {"labels": True},
     {"roi": Box((0, 0, 0), (5, 150, 99))}],
    ids=["voxel size", "axes", "labels", "roi"],
)  # fmt: skip
def test_other_options_start_anew(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(Stop):
        run(source, tmp_path / "b.zarr", progress=stop_after(3))
    seen = run(source, tmp_path / "b.zarr", **options)
    assert len(seen) == seen[0][1], "all blocks were written"
    run(source, tmp_path / "whole.zarr", **options)
    assert files_of(tmp_path / "b.zarr") == files_of(tmp_path / "whole.zarr")


def test_a_changed_source_starts_anew(source: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(source, tmp_path / "b.zarr", progress=stop_after(3))
    np.save(source, 255 - DATA)
    os.utime(source, ns=(1, 1))
    seen = run(source, tmp_path / "b.zarr")
    assert len(seen) == seen[0][1]
    run(source, tmp_path / "whole.zarr")
    assert files_of(tmp_path / "b.zarr") == files_of(tmp_path / "whole.zarr")


def test_a_source_that_changes_while_it_is_read_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has changed while it was read"):
        run(source, tmp_path / "b.zarr", progress=lambda *told: os.utime(source, ns=(1, 1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy"]


def test_a_second_import_at_the_same_time_is_refused(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.zarr"
    with (
        Destination.held(target),
        pytest.raises(OutputError, match=rf"another import works on it \(process {os.getpid()}"),
    ):
        run(source, target)
    run(source, target)
    assert target.exists()


def test_what_others_put_there_meanwhile_is_never_removed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.zarr"

    def progress(done: int, total: int) -> None:
        target.mkdir(exist_ok=True)
        (target / "mine.txt").write_text("mine")

    with pytest.raises(OutputError, match="was not imported by this program"):
        run(source, target, progress=progress)
    assert (target / "mine.txt").read_text() == "mine"


def test_killed_while_it_replaces_an_older_image_it_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "b.zarr"
    run(source, target)
    rename = Path.rename

    def killed(self: Path, new: Path) -> Path:
        if self.name == "image":
            raise Stop
        return rename(self, new)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(Stop):
            run(source, target, overwrite=True)
    assert run(source, target) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.zarr"]


def test_a_link_is_never_replaced(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "b.zarr")
    (tmp_path / "link.zarr").symlink_to("b.zarr")
    with pytest.raises(OutputError, match=r"link.zarr: is a link; .*b.zarr"):
        run(source, tmp_path / "link.zarr", overwrite=True)


def test_a_full_disk_ends_in_one_line_and_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = importing.write_box, [2]

    def full(*given: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*given)

    with monkeypatch.context() as patched:
        patched.setattr(importing, "write_box", full)
        with pytest.raises(OutputError, match="the disk is full; make room") as caught:
            run(source, tmp_path / "b.zarr")
    assert str(partial_folder(tmp_path / "b.zarr")) in str(caught.value)
    assert run(source, tmp_path / "b.zarr")[0][0] == 3


def test_far_too_little_disk_is_refused_before_it_starts(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = destination.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(destination.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ResourceError, match="far too little"):
        run(source, tmp_path / "b.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_source_and_volume_may_not_lie_in_each_other(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="overlaps the input"):
        run(source, source / "b.zarr")
    folder = tmp_path / "sections"
    folder.mkdir()
    np.save(folder / "a.npy", DATA)
    with pytest.raises(OutputError, match="overlaps the input"):
        run(folder / "a.npy", folder)


def test_a_folder_without_permission_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: mode != os.W_OK | os.X_OK and access(path, mode)
    )
    with pytest.raises(OutputError, match="cannot be written"):
        run(source, tmp_path / "b.zarr")


@pytest.mark.parametrize("target", ["s3://bucket/b.zarr", "https:/host/b.zarr"])
def test_an_address_is_no_place_to_write(source: Path, target: str) -> None:
    with pytest.raises(OutputError, match="no folder of this machine"):
        run(source, Path(target))


def test_a_remote_source_that_fails_may_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_files(monkeypatch)
    answers = [2]

    def read(part: tuple[slice, ...]) -> Any:
        answers[0] -= 1
        if answers[0] < 0:
            raise StoreError("store: does not answer")
        return DATA[part]

    foreign = foreign_of(DATA, read=read, chunk=(4, 128, 128))
    monkeypatch.setattr(locating, "FORMATS", (format_of(foreign),))
    with pytest.raises(StoreError):
        import_volume("gs://bucket/volume", tmp_path / "b.zarr")
    done = list(partial_folder(tmp_path / "b.zarr").rglob("c/*/*/*"))
    assert done
    answers[0] = 1000
    volume = import_volume("gs://bucket/volume", tmp_path / "b.zarr")
    assert np.array_equal(volume.read(Box((0, 0, 0), DATA.shape)), DATA)


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda part: 1 / 0, "damaged (division by zero)"),
        (lambda part: DATA[:1], "it is damaged"),
        (lambda part: DATA[part].astype(np.int16), "it is damaged"),
    ],
    ids=["raises", "other shape", "other dtype"],
)
def test_whatever_a_reader_does_it_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any, says: str
) -> None:
    monkeypatch.setattr(locating, "FORMATS", (format_of(foreign_of(DATA, read=read)),))
    with pytest.raises(InputError) as caught:
        import_volume("gs://bucket/volume", tmp_path / "b.zarr")
    assert says in str(caught.value)


def test_sections_are_read_once_though_files_are_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_files(monkeypatch)
    monkeypatch.setattr(cutting, "BOX_BYTES", 4 * 150 * 100)
    read = []

    def noted(part: tuple[slice, ...]) -> Any:
        read.extend(range(part[0].start, part[0].stop))
        return DATA[part]

    foreign = foreign_of(DATA, read=noted, chunk=(1, 150, 100))
    monkeypatch.setattr(locating, "FORMATS", (format_of(foreign),))
    import_volume("gs://bucket/volume", tmp_path / "b.zarr")
    assert read == list(range(5))
