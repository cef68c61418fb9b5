"""Where an import is written: a hidden folder beside the image, which a later import goes on with.

::

    .volume.zarr.importing/     beside volume.zarr
      lock                      held while an import works
      plan.json                 source and options; others than these start anew
      image/                    becomes volume.zarr when it is complete
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from pipeline.errors import OutputError, PipelineError, ResourceError
from pipeline.store.nodes import (
    MARK,
    read_json,
    read_node,
    remove_directory,
    remove_leftovers,
    write_atomically,
)

LOG = logging.getLogger(__name__)

IMPORTED = "imported_from"
"""Key, among this program's attributes, that an imported image has."""
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
FULL = (errno.ENOSPC, errno.EDQUOT)
REPLACED = ".replaced.removed"
WRITTEN_HALF = "*.partial"
"""What a kill in the middle of writing a file leaves."""


def partial_folder(dst: Path) -> Path:
    """Where an unfinished import of ``dst`` lies."""
    target = dst.absolute()
    return target.with_name(f".{target.name}.importing")


def check_free(dst: Path, overwrite: bool) -> None:
    """Check that an image may be made at a path.

    Raises
    ------
    OutputError
        If something is there that may not be replaced, or the folder cannot be written.
    """
    if ADDRESS.match(str(dst)):
        raise OutputError(f"{dst}: is no folder of this machine; import to one, then copy it")
    folder = _existing_folder(dst)
    if not folder.is_dir():
        raise OutputError(f"{dst}: {folder} is a file, not a folder; choose another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{dst}: {folder} cannot be written; choose another path")
    if not os.path.lexists(dst):
        return
    if dst.is_symlink():
        raise OutputError(f"{dst}: is a link; give the path that it leads to, {dst.resolve()}")
    try:
        node = read_node(dst)
    except ValueError:
        node = None
    if node is None or IMPORTED not in node.attributes.get(MARK, {}):
        raise OutputError(
            f"{dst}: exists and was not imported by this program; choose another path"
        )
    if not overwrite:
        raise OutputError(f"{dst}: was imported earlier; replace it with --overwrite")


def check_room(dst: Path, needed: int, least: int) -> None:
    """Check the disk.

    Parameters
    ----------
    dst
        Where the image goes.
    needed
        Bytes, if nothing can be compressed.
    least
        Bytes without which it is hopeless.

    Raises
    ------
    ResourceError
        If less than ``least`` is free.
    """
    folder = _existing_folder(dst)
    free = shutil.disk_usage(folder).free
    text = f"{dst}: up to {_size(needed)} needed, {_size(free)} free at {folder}"
    if free < least:
        raise ResourceError(f"{text}: far too little; make room, or choose another path")
    if free < needed:
        LOG.warning("warning: %s; it may not fit", text)


class Destination:
    """The hidden folder, locked; see ``held``."""

    def __init__(self, dst: Path) -> None:
        self._dst = dst.absolute()
        self._folder = partial_folder(dst)

    @property
    def image(self) -> Path:
        """The image in work."""
        return self._folder / "image"

    @classmethod
    @contextmanager
    def held(cls, dst: Path) -> Iterator[Self]:
        """The hidden folder of an image, made if it is not there, and locked.

        Raises
        ------
        OutputError
            If another import works on it, it cannot be written, or the disk is full.
        """
        destination = cls(dst)
        folder = destination._folder
        try:
            with destination._locked():
                yield destination
        except PipelineError:
            raise
        except OSError as error:
            if error.errno in FULL:
                raise OutputError(
                    f"{dst}: the disk is full; make room, and the same command goes on with what "
                    f"is done in {folder}"
                ) from error
            raise OutputError(
                f"{dst}: cannot be written ({error.strerror or error}); what is done is in {folder}"
            ) from error

    def begin(self, plan: Mapping[str, Any]) -> bool:
        """Go on with an import, or start anew if it was another one.

        Parameters
        ----------
        plan
            All that decides the result, as JSON.

        Returns
        -------
        goes_on
            Whether there is something to go on with.
        """
        file = self._folder / "plan.json"
        remove_leftovers(self._folder)
        with suppress(ValueError):
            if read_json(file) == plan:
                for half in self.image.rglob(WRITTEN_HALF):
                    half.unlink()
                return self.image.is_dir()
        if self.image.exists():
            LOG.info("%s: the source or the options have changed; starting anew", self._dst)
        remove_directory(self.image)
        write_atomically(file, plan)
        return False

    def finish(self) -> None:
        """Give the image its name; what had it is removed, after a kill by the next import."""
        if self._dst.exists():
            self._dst.rename(self._folder / REPLACED)
        self.image.rename(self._dst)

    def discard(self) -> None:
        """Remove the hidden folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._folder / "lock"
        while True:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                file = path.open("a+")
            except FileNotFoundError:
                continue
            with file:
                self._lock(file)
                # another import may have ended and removed the folder while the lock was taken
                if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    try:
                        yield
                    finally:
                        if not self.image.exists():  # finished, or nothing to go on with
                            self.discard()
                    return

    def _lock(self, file: Any) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise OutputError(
                f"{self._dst}: another import works on it ({file.read().strip()}); wait for it, or "
                "choose another path"
            ) from error
        except OSError as error:
            raise OutputError(
                f"{file.name} cannot be locked ({error.strerror}); choose a path on a file system "
                "that has locks"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()


def _existing_folder(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    return folder


def _size(count: int) -> str:
    return f"{count / (1 << 30):.3g} GiB"
