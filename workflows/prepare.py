"""What a run is: volume, configuration, output and device, all checked before work starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config import PipelineSections, parse_config
from pipeline.contract import Halo, Resources, Stage, StageConfig, Triple
from pipeline.errors import ModelError, OutputError
from pipeline.forests import Forest
from pipeline.registry import GIVEN_VOLUMES, STAGES, inputs_of
from pipeline.store import InputGrid, MaskVolume, Output, Volume
from workflows.blocks import BlockMemory, check_tile, choose_block_shape
from workflows.cluster import Workplace
from workflows.devices import worker_device
from workflows.input_level import (
    context_sections,
    network_bytes,
    pixel_steps,
    sections_at_once,
    with_level,
)
from workflows.output_input import input_identity, open_output, source_of
from workflows.passes import Pass, passes
from workflows.provenance import Ledger, fingerprint_content, fingerprint_of
from workflows.source import Source
from workflows.tasks import Job

NAMES_SHOWN = 4


@dataclass(frozen=True)
class Run:
    """A prepared reconstruction.

    Parameters
    ----------
    volume
        The raw volume.
    mask
        Mask volume, if the user gave one.
    source
        How workers open them.
    config
        With every ``auto`` decided.
    output
        The store to fill.
    device
        Of the networks.
    block_bytes
        Memory that a worker needs for a block, about; 0 for a run that is only looked at.
    """

    volume: Volume
    mask: MaskVolume | None
    source: Source
    config: PipelineSections
    output: Output
    device: str
    block_bytes: int = 0

    @property
    def ledger(self) -> Ledger:
        """Records of the output."""
        return Ledger(self.output.path)

    @property
    def input_grid(self) -> InputGrid | None:
        """The input's finest grid, where labels are written on it, too."""
        labels: Any = self.config.section("labels")
        return self.source.finest if labels.input_geometry else None

    def passes(self, stage: Stage) -> list[Pass]:
        """Those of a stage, in order."""
        return passes(stage, self.output.pyramid_levels, at_input=self.input_grid is not None)

    def job(self, stage: Stage, run: str, task_bytes: int = 0) -> Job:
        """What workers need for one stage.

        Parameters
        ----------
        stage
            That is to run.
        run
            Differs from run to run.
        task_bytes
            Memory that a task may use; 0: not known.
        """
        return Job(
            stage=stage.name,
            config=self.config.model_dump_json(),
            source=self.source.absolute(),
            output=self.output.path.absolute(),
            volume=self.volume.info,
            block_shape=self.output.block_shape,
            device=self.device,
            run=run,
            spare_bytes=max(0, task_bytes - self.block_bytes),
        )

    def fingerprint_contents(self) -> dict[str, dict[str, Any]]:
        """What decides the result of every stage as it would be run now."""
        known = {"raw": self.volume.fingerprint()}
        if self.mask is not None:
            known["mask"] = self.mask.fingerprint()
        geometry = {
            "shape": list(self.volume.shape),
            "voxel_size_nm": list(self.volume.voxel_size_nm),
        }
        contents = {}
        for stage in STAGES:
            section = self.config.section(stage.name)
            names = [s.name for s in inputs_of(stage)]
            names += [n for n in GIVEN_VOLUMES if n in stage.reads and n in known]
            inputs = {name: known[name] for name in names}
            if self.input_grid and any(array.at_input for array in stage.arrays):
                inputs["finest grid of the input"] = fingerprint_of(self.input_grid.as_json())
            files = stage.files(section) if stage.files else []
            content = fingerprint_content(stage, section, files, inputs, geometry)
            contents[stage.name] = content
            known[stage.name] = fingerprint_of(content)
        return contents


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
    workplace: Workplace | None = None,
    write: bool = True,
) -> Run:
    """Check everything that can be checked before work starts, and open the output.

    With ``write=False`` nothing is written: the output of the run may not exist yet. The
    workplace decides what ``auto`` means for the device; by default it is this process.

    Raises
    ------
    PipelineError
        If the volume, the mask, a model, the machine or the output cannot be used.
    """
    source = with_level(source, config)
    volume = source.open()
    mask = source.open_mask(volume)
    if mask is not None:
        mask.check_foreground()
    chosen = worker_device(device, workplace or Workplace())
    resolved = resolve(config, volume, chosen.precision)
    halos = _check_models(resolved, volume, chosen.name if chosen.here else "cpu")
    boundaries: Any = resolved.section("boundaries")
    tile: Triple = boundaries.tile
    memory = BlockMemory(
        volume.info,
        tile,
        halos,
        batch=sections_at_once(resolved),
        steps=pixel_steps(resolved, volume.info),
        context_sections=context_sections(resolved),
        network_bytes=network_bytes(resolved),
        on_gpu=chosen.name.startswith("cuda"),
    )
    shape = block_shape or choose_block_shape(memory, memory_bytes)
    check_tile(tile, shape, volume.shape)
    store = open_output(output, volume, source, shape, overwrite, write)
    check_tile(tile, store.block_shape, volume.shape)
    needed = memory.needed(store.block_shape)
    run = Run(volume, mask, source, resolved, store, chosen.name, needed)
    if not write:
        return run
    with run.ledger.lock():
        store.set_attributes(
            {
                "config": json.loads(resolved.model_dump_json()),
                "input": input_identity(volume, source),
                "provenance": {"command": command, "device": chosen.name, "versions": _versions()},
            }
        )
    return run


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
        source = source_of(attributes["input"])
        config = parse_config(attributes["config"], f"{output}: stored configuration")
        device = attributes["provenance"]["device"]
    except (KeyError, TypeError) as error:
        raise OutputError(
            f"{output}: its run was never prepared ({error}); run it again"
        ) from error
    except ValidationError as error:
        raise OutputError(
            f"{output}: how its input is reached was written by another version of this program; "
            "run it again"
        ) from error
    volume = source.open()
    return Run(volume, source.open_mask(volume), source, config, store, device)


def resolve(config: PipelineSections, volume: Volume, precision: str) -> PipelineSections:
    """Every ``auto`` decided for this volume; paths of model files absolute.

    ``precision`` is what ``auto`` becomes on the run's device.
    """
    resolved = config.resolved(volume.info)
    boundaries: Any = resolved.section("boundaries")
    decided = boundaries
    if boundaries.precision == "auto":
        decided = boundaries.model_copy(update={"precision": precision})
    resolved = resolved.model_copy(update={"boundaries": decided})
    sections = {s.name: _with_absolute_files(s, resolved.section(s.name)) for s in STAGES}
    return resolved.model_copy(update=sections)


def _with_absolute_files(stage: Stage, section: StageConfig) -> StageConfig:
    files = {Path(f) for f in stage.files(section)} if stage.files else set()
    given = {k: Path(v) for k, v in section if isinstance(v, str) and Path(v) in files}
    return section.model_copy(update={k: str(path.absolute()) for k, path in given.items()})


def _check_models(config: PipelineSections, volume: Volume, device: str) -> dict[str, Halo]:
    """Open every model once; a forest must be given the features that it knows.

    Returns
    -------
    halos
        Of every stage, with its models.
    """
    columns: dict[str, Mapping[str, Any]] = {}
    halos = {}
    for stage in STAGES:
        section = config.section(stage.name)
        if stage.attributes:
            columns |= stage.attributes(section, Resources(volume.info))
        try:
            models = stage.opens(section, device) if stage.opens else {}
            for model in models.values():
                if isinstance(model, Forest):
                    _check_features(model, columns[f"{stage.name}/features"]["names"])
        except ModelError as error:
            raise ModelError(f"stage {stage.name}: {error}") from error
        halos[stage.name] = stage.halo(section, Resources(volume.info, models))
    return halos


def _check_features(forest: Forest, names: Sequence[str]) -> None:
    """What ``predict`` would refuse much later: more columns than the forest's do no harm."""
    missing = sorted(set(forest.feature_names) - set(names))
    if not missing:
        return
    more = f" and {len(missing) - NAMES_SHOWN} more" if len(missing) > NAMES_SHOWN else ""
    raise ModelError(
        f"the forest was fitted on features that are not among the {len(names)} of this "
        f"configuration: {', '.join(missing[:NAMES_SHOWN])}{more}; give the features section "
        "that it was fitted with, or another forest"
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in ("neuron-pipeline", "torch", "bioimage-cpp", "zarr", "numpy", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
