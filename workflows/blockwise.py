"""Blocks of a stage, run here or on dask workers; the only file that knows dask.

One block: open (once a worker), read with halo, compute, write. The driver marks the block
done when its data are written, so a kill loses only the blocks in flight.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config import parse_config
from pipeline.contract import Resources, Stage, Table, Triple, VolumeInfo
from pipeline.errors import BlockError, PipelineError
from pipeline.grid import block_at, grid_shape
from pipeline.registry import GIVEN_VOLUMES, STAGES, columns_before, stage
from pipeline.store import MaskVolume, Output, Volume, open_mask, open_volume
from workflows.parts import Parts, part_path, save_part


@dataclass(frozen=True)
class Job:
    """Everything a worker needs to compute blocks of one stage; small, so it travels.

    Parameters
    ----------
    stage
        Name of the stage.
    config
        Resolved configuration of the whole pipeline, as JSON text.
    source
        How to open the raw volume and the mask.
    output
        Path of the output store.
    volume
        Geometry of the volume.
    block_shape
        Write block, zyx.
    device
        Device of the networks.
    threads
        Threads that one worker may use.
    """

    stage: str
    config: str
    source: Source
    output: Path
    volume: VolumeInfo
    block_shape: Triple
    device: str
    threads: int

    def blocks(self) -> list[Triple]:
        """Indices of all blocks, z slowest."""
        shape = grid_shape(self.volume.shape, self.block_shape)
        return [(int(z), int(y), int(x)) for z, y, x in np.ndindex(*shape)]


@dataclass(frozen=True)
class Source:
    """How to open what the user gives: the raw volume and, possibly, a mask."""

    path: Path
    level: int | None
    voxel_size_nm: tuple[float, float, float] | None
    roi: Any
    mask: Path | None = None

    def open(self) -> Volume:
        """The volume, in the calling process."""
        return open_volume(
            self.path, level=self.level, voxel_size_nm=self.voxel_size_nm, roi=self.roi
        )

    def open_mask(self, volume: Volume) -> MaskVolume | None:
        """The mask of the opened volume, if one is given."""
        return None if self.mask is None else open_mask(self.mask, volume)


@dataclass(frozen=True)
class Opened:
    """What a worker opens once for a job."""

    stage: Stage
    config: Any
    resources: Resources
    raw: Volume
    mask: MaskVolume | None
    output: Output


@lru_cache(maxsize=2)
def opened(job: Job) -> Opened:
    """Open stores and models of a job, once a process."""
    torch.set_num_threads(job.threads)
    chosen = stage(job.stage)
    config = parse_config(json.loads(job.config), "the resolved configuration").section(job.stage)
    models = chosen.opens(config, job.device) if chosen.opens else {}
    raw = job.source.open()
    return Opened(
        chosen,
        config,
        Resources(job.volume, models, job.threads),
        raw,
        job.source.open_mask(raw) if "mask" in chosen.reads else None,
        Output.open(job.output),
    )


@lru_cache(maxsize=1)
def read_tables(job: Job) -> tuple[dict[str, Table], dict[str, Any]]:
    """Tables that a stage reads (columns of earlier stages only), and their attributes."""
    work = opened(job)
    volumes = {*GIVEN_VOLUMES, *(a.name for s in STAGES for a in s.arrays)}
    tables: dict[str, Table] = {}
    attributes: dict[str, Any] = {}
    for name in work.stage.reads:
        if name in volumes:
            continue
        columns = columns_before(work.stage, name)
        tables[name] = work.output.read_table(name, columns)
        for column, values in work.output.read_attributes(name).items():
            if column in columns:
                attributes[f"{name}/{column}"] = values
    return tables, attributes


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def forget_opened() -> None:
    """Close what this process holds open; at the start of a run, files may have changed."""
    opened.cache_clear()
    read_tables.cache_clear()


def run_block(job: Job, index: Triple, parts: Path) -> str:
    """Compute and write one block; tables go to ``parts`` until they are merged.

    Returns
    -------
    name
        Of the block, for its done mark.
    """
    work = opened(job)
    halo = work.stage.halo(work.config, work.resources)
    block = block_at(index, job.volume.shape, job.block_shape, halo)
    tables, attributes = read_tables(job)
    inputs: dict[str, Any] = {**tables, "attributes": attributes}
    for name in work.stage.reads:
        if name == "raw":
            inputs[name] = work.raw.read(block.read)
        elif name == "mask":
            if work.mask is not None:
                inputs[name] = work.mask.read(block.read)
        elif name not in tables:
            inputs[name] = work.output.read(name, block.read)
    outputs = work.stage.compute(block, inputs, work.config, work.resources)
    for spec in work.stage.arrays:
        work.output.write(spec.name, block.write, outputs[spec.name])
    if work.stage.tables:
        save_part(part_path(parts, block.name), outputs)
    return block.name


class Executor:
    """Runs blocks here (``workers=1``) or on local dask workers.

    Parameters
    ----------
    workers
        Number of processes.
    memory_bytes
        Limit of one worker, for dask; ``None``: no limit.
    """

    def __init__(self, workers: int = 1, memory_bytes: int | None = None) -> None:
        self.workers, self.memory_bytes = workers, memory_bytes
        self._stack = ExitStack()
        self._client: Any = None

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *args: object) -> None:
        self._stack.close()

    def run(
        self, job: Job, indices: Sequence[Triple], parts: Path, done: Callable[[str], None]
    ) -> None:
        """Run blocks; ``done(name)`` is called here after each block's data are written.

        Raises
        ------
        PipelineError
            If a block fails; the message names the stage and the block.
        """
        if not indices:
            return
        if self.workers == 1:
            for index in indices:
                with _naming(job.stage, index):
                    name = run_block(job, index, parts)
                done(name)
            return
        for name in self._on_dask(job, indices, parts):
            done(name)

    def _on_dask(self, job: Job, indices: Sequence[Triple], parts: Path) -> Iterator[str]:
        from distributed import as_completed

        client = self._start()
        waiting = iter(indices)
        index_of: dict[str, Triple] = {}

        def submit(index: Triple) -> Any:
            future = client.submit(run_block, job, index, parts, pure=False, retries=0)
            index_of[future.key] = index
            return future

        running = as_completed([submit(i) for i in islice(waiting, 2 * self.workers)])
        for future in running:
            with _naming(job.stage, index_of[future.key]):
                name: str = future.result()
            yield name
            for index in islice(waiting, 1):
                running.add(submit(index))

    def _start(self) -> Any:
        if self._client is None:
            import dask
            from distributed import Client, LocalCluster

            self._stack.enter_context(
                dask.config.set(
                    {"distributed.worker.daemon": True, "distributed.admin.tick.limit": "1h"}
                )
            )
            cluster = self._stack.enter_context(
                LocalCluster(
                    n_workers=self.workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                    memory_limit=self.memory_bytes or 0,
                )
            )
            self._client = self._stack.enter_context(Client(cluster))
        return self._client


class _naming:
    """Add stage and block to the message of an error of ours, and to the type of any other."""

    def __init__(self, stage: str, index: Triple) -> None:
        self.where = f"stage {stage}, block {'.'.join(map(str, index))}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PipelineError):
            raise type(error)(f"{error} [{self.where}]") from error
        if isinstance(error, Exception):
            raise BlockError(f"{self.where} failed: {type(error).__name__}: {error}") from error


def merged(job: Job, names: Sequence[str], parts: Path) -> Mapping[str, Table]:
    """Tables of a stage from the parts of its blocks."""
    work = opened(job)
    assert work.stage.merge is not None
    tables, _ = read_tables(job)
    found = Parts([part_path(parts, name) for name in names])
    outputs: Mapping[str, Table] = work.stage.merge(found, tables, work.config, work.resources)
    return outputs
