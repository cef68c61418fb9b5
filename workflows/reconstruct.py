"""From a raw volume to neurons: every stage skipped if current, run if not, recorded.

1. Open the volume, decide every ``auto``, open all models (a bad one fails now, not later).
2. Open or create the output; refuse another input's; lock it.
3. For each stage: fingerprint; skip if done and equal; else forget it and what depends on
   it, run the missing blocks, merge, build the pyramid, record.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from pipeline.boundaries.device import choose_device, choose_precision
from pipeline.config import PipelineSections, parse_config
from pipeline.contract import Box, Halo, Stage, Triple
from pipeline.errors import ModelError, OutputError
from pipeline.grid import block_at, whole
from pipeline.registry import STAGES, inputs_of
from pipeline.store import Output, Volume, is_output
from workflows.blocks import choose_block_shape
from workflows.blockwise import (
    Executor,
    Job,
    Opened,
    Source,
    forget_opened,
    merged,
    opened,
    whole_tables,
)
from workflows.memory import PeakMemory
from workflows.progress import Advance, progress_bar
from workflows.provenance import Ledger, Record, State, fingerprint


@dataclass(frozen=True)
class StageStatus:
    """One line of ``status``."""

    stage: str
    state: State
    blocks_done: int
    blocks: int
    record: Record | None


@dataclass(frozen=True)
class Run:
    """A prepared reconstruction.

    Parameters
    ----------
    volume
        The raw volume.
    source
        How workers open it.
    config
        With every ``auto`` decided.
    output
        The store to fill.
    device
        Of the networks.
    """

    volume: Volume
    source: Source
    config: PipelineSections
    output: Output
    device: str

    @property
    def ledger(self) -> Ledger:
        """Records of the output."""
        return Ledger(self.output.path)

    def job(self, stage: Stage, threads: int = 1) -> Job:
        """What workers need for one stage."""
        return Job(
            stage=stage.name,
            config=self.config.model_dump_json(),
            source=self.source,
            output=self.output.path.absolute(),
            volume=self.volume.info,
            block_shape=self.output.block_shape,
            device=self.device,
            threads=threads,
        )

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of every stage as it would be run now."""
        known = {"raw": self.volume.fingerprint()}
        geometry = {
            "shape": list(self.volume.shape),
            "voxel_size_nm": list(self.volume.voxel_size_nm),
        }
        for stage in STAGES:
            section = self.config.section(stage.name)
            inputs = {s.name: known[s.name] for s in inputs_of(stage)}
            if "raw" in stage.reads:
                inputs["raw"] = known["raw"]
            files = stage.files(section) if stage.files else []
            known[stage.name] = fingerprint(stage, section, files, inputs, geometry)
        return known


def resolve(config: PipelineSections, volume: Volume, device: str) -> PipelineSections:
    """Every ``auto`` decided for this volume and device."""
    resolved = config.resolved(volume.info)
    boundaries: Any = resolved.section("boundaries")
    precision = choose_precision(boundaries.precision, device)
    decided = boundaries.model_copy(update={"precision": precision})
    return resolved.model_copy(update={"boundaries": decided})


def prepare(
    source: Source,
    config: PipelineSections,
    output: Path,
    *,
    device: str = "auto",
    memory_bytes: int | None = None,
    block_shape: Triple | None = None,
    overwrite: bool = False,
    command: str = "",
) -> Run:
    """Check everything that can be checked before work starts, and open the output.

    Raises
    ------
    PipelineError
        If the volume, a model, the machine or the output cannot be used.
    """
    volume = source.open()
    device = choose_device(device)
    resolved = resolve(config, volume, device)
    _check_models(resolved, device)
    tile = getattr(resolved.section("boundaries"), "tile")  # noqa: B009
    shape = block_shape or choose_block_shape(volume.info, tile, memory_bytes)
    store = _open_output(output, volume, source, shape, overwrite)
    run = Run(volume, source, resolved, store, device)
    with run.ledger.lock():
        store.set_attributes(
            {
                "config": json.loads(resolved.model_dump_json()),
                "input": _identity(volume, source),
                "provenance": {"command": command, "device": device, "versions": _versions()},
            }
        )
    return run


def reconstruct(
    run: Run,
    *,
    workers: int = 1,
    memory_bytes: int | None = None,
    order: Callable[[Sequence[Triple]], Sequence[Triple]] = lambda blocks: blocks,
    until: str | None = None,
) -> None:
    """Bring every stage up to date.

    Parameters
    ----------
    run
        From ``prepare``.
    workers
        Processes; 1 runs here.
    memory_bytes
        Limit of one worker.
    order
        Order in which a stage's blocks are computed; does not change the result.
    until
        Last stage to run; all by default.
    """
    forget_opened()
    threads = max(1, (psutil.cpu_count() or 1) // workers)
    with run.ledger.lock(), Executor(workers, memory_bytes) as executor:
        fingerprints = run.fingerprints()
        for stage in STAGES:
            print_now = fingerprints[stage.name]
            old = run.ledger.record(stage.name)
            if old and old.finished and old.fingerprint == print_now:
                _verify(run, stage, run.ledger.done(stage.name))
            else:
                _run_stage(run, stage, print_now, executor, threads, order)
            if stage.name == until:
                return
        run.output.set_attributes({"stages": _records(run)})


def status(run: Run) -> list[StageStatus]:
    """State of every stage: current, stale, unfinished or missing."""
    fingerprints = run.fingerprints()
    rows = []
    for stage in STAGES:
        record = run.ledger.record(stage.name)
        state: State
        if record is None:
            state = "missing"
        elif record.fingerprint != fingerprints[stage.name]:
            state = "stale"
        else:
            state = "done" if record.finished else "unfinished"
        done = len(run.ledger.done(stage.name))
        rows.append(StageStatus(stage.name, state, done, record.blocks if record else 0, record))
    return rows


def reopen(output: Path) -> Run:
    """The run that an output belongs to, with the configuration that it was made with.

    Raises
    ------
    PipelineError
        If the output or its input is not there any more.
    """
    store = Output.open(output)
    attributes = store.attributes
    try:
        identity = attributes["input"]
        roi = Box(*(tuple(c) for c in identity["roi"])) if identity["roi"] else None
        size = identity["voxel_size_argument"]
        source = Source(
            Path(identity["path"]), identity["level"], tuple(size) if size else None, roi
        )
        config = parse_config(attributes["config"], f"{output}: stored configuration")
        device = attributes["provenance"]["device"]
    except (KeyError, TypeError) as error:
        raise OutputError(
            f"{output}: its run was never prepared ({error}); run it again"
        ) from error
    return Run(source.open(), source, config, store, device)


def _run_stage(
    run: Run,
    stage: Stage,
    fingerprint_now: str,
    executor: Executor,
    threads: int,
    order: Callable[[Sequence[Triple]], Sequence[Triple]],
) -> None:
    job = run.job(stage, threads)
    indices = job.blocks() if stage.scope == "blocks" else [(0, 0, 0)]
    record = _start(run, stage, fingerprint_now, len(indices))
    done = run.ledger.done(stage.name)
    _verify(run, stage, done)
    names = [".".join(map(str, index)) for index in indices]
    missing = [i for i, name in zip(indices, names, strict=True) if name not in done]
    began = time.monotonic()
    with (
        PeakMemory() as peak,
        progress_bar(stage.name, len(indices), len(indices) - len(missing)) as advance,
    ):
        if stage.scope == "volume":
            _compute_whole(run, stage, job)
            advance(1, "")
        else:
            _compute_blocks(run, stage, job, executor, order(missing), advance)
            if stage.merge:
                work = opened(job)
                _write_tables(run, work, merged(work, names, run.ledger.parts(stage.name)))
        for spec in stage.arrays:
            run.output.build_pyramid(spec.name, spec.kind)
    run.ledger.finish(record, time.monotonic() - began, peak.bytes)


def _start(run: Run, stage: Stage, fingerprint_now: str, blocks: int) -> Record:
    """Go on with an unfinished stage, or forget it and all that depends on it."""
    old = run.ledger.record(stage.name)
    if old and not old.finished and (old.fingerprint, old.blocks) == (fingerprint_now, blocks):
        return old
    for later in reversed(dependents(stage)):
        run.ledger.forget(later.name)
        for array in later.arrays:
            if run.output.has_array(array.name):
                run.output.remove(array.name)
        for table in later.tables:
            run.output.remove_table(table.name, list(table.columns))
    for array in stage.arrays:
        run.output.create_array(array)
    return run.ledger.start(stage.name, fingerprint_now, blocks)


def dependents(stage: Stage) -> list[Stage]:
    """A stage and all that depend on it, in order."""
    found = [stage]
    for later in STAGES[STAGES.index(stage) + 1 :]:
        if any(s in found for s in inputs_of(later)):
            found.append(later)
    return found


def _compute_blocks(
    run: Run,
    stage: Stage,
    job: Job,
    executor: Executor,
    indices: Sequence[Triple],
    advance: Advance,
) -> None:
    began, voxels = time.monotonic(), 0
    per_block = run.output.block_shape[0] * run.output.block_shape[1] * run.output.block_shape[2]

    def done(name: str) -> None:
        nonlocal voxels
        run.ledger.mark(stage.name, name)
        voxels += per_block
        advance(1, f"{voxels / 1e6 / max(time.monotonic() - began, 1e-3):.1f} Mvoxel/s")

    executor.run(job, indices, run.ledger.parts(stage.name), done)


def _compute_whole(run: Run, stage: Stage, job: Job) -> None:
    work = opened(job)
    tables, attributes = whole_tables(work)
    inputs = {**tables, "attributes": attributes}
    block = whole(run.volume.shape)
    _write_tables(run, work, stage.compute(block, inputs, work.config, work.resources))
    run.ledger.mark(stage.name, block.name)


def _write_tables(run: Run, work: Opened, tables: Mapping[str, Any]) -> None:
    for spec in work.stage.tables:
        columns = {
            name: tables[spec.name][name].astype(dtype, copy=False)
            for name, dtype in spec.columns.items()
        }
        run.output.write_table(spec.name, columns, _attributes(work, spec.name))


def _attributes(work: Opened, table: str) -> dict[str, Mapping[str, Any]]:
    """Attributes of a table's columns, such as feature names."""
    if work.stage.attributes is None:
        return {}
    given = work.stage.attributes(work.config, work.resources)
    return {
        key.partition("/")[2]: value
        for key, value in given.items()
        if key.partition("/")[0] == table
    }


def _verify(run: Run, stage: Stage, done: set[str]) -> None:
    """Every block that is marked done has its file."""
    for spec in stage.arrays:
        for name in done:
            z, y, x = (int(i) for i in name.split("."))
            block = block_at((z, y, x), run.volume.shape, run.output.block_shape, Halo())
            try:
                run.output.verify(spec.name, block.write)
            except OutputError as error:
                record = run.ledger.folder / f"{stage.name}.json"
                raise OutputError(
                    f"{error}; it was finished before. Remove {record} to compute the stage again"
                ) from error


def _check_models(config: PipelineSections, device: str) -> None:
    for stage in STAGES:
        section = config.section(stage.name)
        try:
            if stage.opens:
                stage.opens(section, device)
        except ModelError as error:
            raise ModelError(f"stage {stage.name}: {error}") from error


def _open_output(
    path: Path, volume: Volume, source: Source, block_shape: Triple, overwrite: bool
) -> Output:
    if is_output(path):
        with Ledger(path).lock() if overwrite else nullcontext():
            pass
    if overwrite or not is_output(path):
        return Output.create(
            path, volume=volume, block_shape=block_shape, source=source.path, overwrite=overwrite
        )
    store = Output.open(path)
    old, new = store.attributes.get("input"), _identity(volume, source)
    if old is not None:
        same_place = all(old.get(k) == new[k] for k in ("path", "level", "roi"))
        same_shape = store.shape == volume.shape and store.voxel_size_nm == volume.voxel_size_nm
        if not (same_shape and (same_place or old.get("fingerprint") == new["fingerprint"])):
            raise OutputError(
                f"{path} belongs to another input: {old.get('path')} (level {old.get('level')}, "
                f"shape {list(store.shape)}), not {new['path']} (level {new['level']}, shape "
                f"{list(volume.shape)}); give another --output, or --overwrite"
            )
    return store


def _identity(volume: Volume, source: Source) -> dict[str, Any]:
    size = source.voxel_size_nm
    return {
        "path": str(source.path.resolve()),
        "level": volume.level,
        "roi": [list(source.roi.begin), list(source.roi.end)] if source.roi else None,
        "voxel_size_argument": list(size) if size else None,
        "shape": list(volume.shape),
        "voxel_size_nm": list(volume.voxel_size_nm),
        "dtype": volume.dtype,
        "fingerprint": volume.fingerprint(),
    }


def _records(run: Run) -> dict[str, Any]:
    records = (run.ledger.record(s.name) for s in STAGES)
    return {
        r.stage: {
            "seconds": round(r.seconds, 2),
            "blocks": r.blocks,
            "peak_bytes": r.peak_bytes,
            "fingerprint": r.fingerprint,
            "ended": r.ended,
        }
        for r in records
        if r
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("neuron-pipeline", "torch", "bioimage-cpp", "zarr", "numpy", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
