"""How much goes through the network at a time, and what is done where memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.boundaries.footprint import bytes_per_pixel
from pipeline.boundaries.predict import ORIENTATIONS, predict_tile
from pipeline.boundaries.torch_threads import in_order
from pipeline.errors import ResourceError

LOG = logging.getLogger(__name__)

PIXELS_AT_ONCE = 1 << 23
"""Of all sections and orientations in one pass on a GPU where the batch is ``auto``: a choice,
not a measured optimum."""
RAN_OUT = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
"""In messages of libraries that torch does not turn into its ``OutOfMemoryError``."""

Number = int | Literal["auto"]


@dataclass(frozen=True)
class Batch:
    """What one pass of a network holds.

    Parameters
    ----------
    orientations
        Of every section, at most.
    sections
        At most.
    """

    orientations: int
    sections: int

    @property
    def size(self) -> int:
        """Sections in all orientations."""
        return self.orientations * self.sections

    def within(self, other: Batch) -> Batch:
        """As much of it as another holds."""
        return Batch(min(self.orientations, other.orientations), min(self.sections, other.sections))

    def halved(self) -> Batch | None:
        """Half of its orientations, then of its sections; ``None``: it is one of one."""
        if self.orientations > 1:
            return replace(self, orientations=self.orientations // 2)
        if self.sections > 1:
            return replace(self, sections=self.sections // 2)
        return None


def chosen_batch(orientations: Number, sections: Number, pixels: int, device: str) -> Batch:
    """The batch that is asked for, with every ``auto`` decided.

    Parameters
    ----------
    orientations, sections
        ``auto``: on a GPU all 8 orientations, and of small sections several; else 1.
    pixels
        Of a section.
    device
        A torch device name.
    """
    on_gpu = device.startswith("cuda")
    if orientations == "auto":
        orientations = len(ORIENTATIONS) if on_gpu else 1
    if sections == "auto":
        sections = max(1, PIXELS_AT_ONCE // (int(orientations) * pixels)) if on_gpu else 1
    return Batch(int(orientations), int(sections))


class Batches:
    """Predicts sections in batches, smaller ones from the moment on when memory ran out.

    One for each network that is open; tasks of several threads may share it.

    Parameters
    ----------
    device
        A torch device name.
    shape
        Configuration of the network, with its ``architecture``, which tells its memory; ``None``:
        batches are predicted one after the other.
    """

    def __init__(self, device: str, shape: Mapping[str, object] | None = None) -> None:
        self._device = device
        self._shape = shape
        self._most: Batch | None = None
        self._one_by_one = False
        self._lock = Lock()

    def at_once(self, batch: Batch, pixels: int, spare_bytes: int) -> int | None:
        """Passes of the network at a time, each by one thread: on a CPU as many as fit.

        Threads that share a layer wait for each other at its end, and may round it otherwise
        than one; those that have a pass each do not.

        Parameters
        ----------
        batch
            Of which each pass is.
        pixels
            Of a section.
        spare_bytes
            Memory that may be used beside that for one pass.

        Returns
        -------
        at_once
            ``None``: one after the other, by the calling thread.
        """
        threads = torch.get_num_threads()
        if threads == 1 or not self._device.startswith("cpu") or self._shape is None:
            return None
        fit = 1 + spare_bytes // (self._pixel_bytes * pixels * batch.size)
        return 1 if self._one_by_one else min(threads, fit)

    def predict_each(
        self,
        network: nn.Module,
        parts: Sequence[Callable[[], Tensor]],
        batch: Batch,
        augmentation: str,
        precision: str,
        *,
        flip_z: bool = False,
        at_once: int | None = None,
    ) -> Iterator[Tensor]:
        """``predict`` for some sections after the other, with ``at_once`` passes at a time.

        Parts are predicted beside each other, or the orientations of each where there are fewer
        parts. Maps come in the order of ``parts``, each of which is called when it is needed, by
        the calling thread. They are the same with any number of passes and threads.
        """

        def one(sections: Tensor, passes: int | None = None) -> Tensor:
            return self.predict(
                network,
                sections,
                batch,
                augmentation,
                precision,
                flip_z=flip_z,
                passes_at_once=passes,
            )

        made = (part() for part in parts)
        if at_once is None:
            return map(one, made)
        if len(parts) >= at_once or augmentation == "none":
            maps = in_order(one, made, at_once)
        else:
            maps = (one(sections, at_once) for sections in made)
        return self._or_alone(maps, one, parts)

    def _or_alone(
        self,
        maps: Iterator[Tensor],
        one: Callable[[Tensor], Tensor],
        parts: Sequence[Callable[[], Tensor]],
    ) -> Iterator[Tensor]:
        """Maps; where memory ran out for passes beside each other, the others one by one."""
        done = 0
        try:
            for found in maps:
                yield found
                done += 1
        except ResourceError:
            if self._one_by_one:
                raise
            self._one_by_one = True
            LOG.warning("memory ran out; sections are predicted one by one from now on")
        yield from in_order(one, (part() for part in parts[done:]), 1)

    @cached_property
    def _pixel_bytes(self) -> int:
        assert self._shape is not None
        return bytes_per_pixel(self._shape)

    def predict(
        self,
        network: nn.Module,
        sections: Tensor,
        batch: Batch,
        augmentation: str,
        precision: str,
        *,
        flip_z: bool = False,
        passes_at_once: int | None = None,
    ) -> Tensor:
        """See ``predict_tile``.

        Parameters
        ----------
        batch
            What is tried first; of what ran out of memory once no more is tried than fitted.

        Raises
        ------
        ResourceError
            If one orientation of one section does not fit.
        """
        tried = batch if self._most is None else batch.within(self._most)
        smaller = False
        while True:
            found = self._attempt(
                network, sections, tried, augmentation, precision, flip_z, passes_at_once
            )
            if found is not None:
                break
            # Only here: while an error is handled, its traceback holds what filled the memory.
            if self._device.startswith("cuda"):
                torch.cuda.empty_cache()
            halved = tried.within(_whole(sections, augmentation)).halved()
            if halved is None:
                raise ResourceError(_too_large(sections, self._device, precision))
            tried, smaller = halved, True
            self._most = tried if self._most is None else tried.within(self._most)
        if smaller:
            LOG.warning(
                "%s ran out of memory; predicted together from now on: orientations %d, "
                "sections %d",
                self._device,
                tried.orientations,
                tried.sections,
            )
        return found

    def _attempt(
        self,
        network: nn.Module,
        sections: Tensor,
        batch: Batch,
        augmentation: str,
        precision: str,
        flip_z: bool,
        passes_at_once: int | None,
    ) -> Tensor | None:
        """The map; ``None``: memory ran out."""
        try:
            with self._alone():
                maps = [
                    predict_tile(
                        network,
                        part,
                        augmentation,
                        self._device,
                        precision,
                        flip_z=flip_z,
                        orientations_at_once=batch.orientations,
                        passes_at_once=passes_at_once,
                    )
                    for part in torch.split(sections, batch.sections)
                ]
                return maps[0] if len(maps) == 1 else torch.cat(maps)
        except RuntimeError as error:
            if not _ran_out(error):
                raise
            return None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """On a GPU one batch at a time is given out, so that memory is that of one."""
        if not self._device.startswith("cuda"):
            yield
            return
        with self._lock:
            yield


def _whole(sections: Tensor, augmentation: str) -> Batch:
    """More than this no batch can hold."""
    orientations = 1 if augmentation == "none" else 2 * len(ORIENTATIONS)
    return Batch(orientations, len(sections))


def _ran_out(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in RAN_OUT
    )


def _too_large(sections: Tensor, device: str, precision: str) -> str:
    height, width = sections.shape[-2:]
    ways = ["smaller tiles, as --set boundaries.tile='[1,256,256]'"]
    if device.startswith("cuda"):
        ways += ["--set boundaries.precision=bf16"] if precision == "fp32" else []
        ways += ["--device cpu"]
    else:
        ways += ["a machine with more memory"]
    return (
        f"the boundary network does not fit into the memory of {device} for one section of "
        f"{height} x {width} pixels; give {', or '.join(ways)}"
    )
