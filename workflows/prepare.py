"""What a run is: volume, configuration, output and device, all checked before work starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.config import PipelineSections, parse_config
from pipeline.contract import Box, Halo, Resources, Stage, StageConfig, Triple
from pipeline.errors import ModelError, OutputError
from pipeline.forests import Forest
from pipeline.registry import GIVEN_VOLUMES, STAGES, inputs_of
from pipeline.store import MaskVolume, Output, Volume, check_apart, is_output, make_room
from workflows.blocks import check_tile, choose_block_shape
from workflows.cluster import Workplace
from workflows.devices import worker_device
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
    """

    volume: Volume
    mask: MaskVolume | None
    source: Source
    config: PipelineSections
    output: Output
    device: str

    @property
    def ledger(self) -> Ledger:
        """Records of the output."""
        return Ledger(self.output.path)

    def job(self, stage: Stage, run: str) -> Job:
        """What workers need for one stage; ``run`` differs from run to run."""
        return Job(
            stage=stage.name,
            config=self.config.model_dump_json(),
            source=self.source.absolute(),
            output=self.output.path.absolute(),
            volume=self.volume.info,
            block_shape=self.output.block_shape,
            device=self.device,
            run=run,
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
    volume = source.open()
    mask = source.open_mask(volume)
    if mask is not None:
        mask.check_foreground()
    chosen = worker_device(device, workplace or Workplace())
    resolved = resolve(config, volume, chosen.precision)
    halos = _check_models(resolved, volume, chosen.name if chosen.here else "cpu")
    boundaries: Any = resolved.section("boundaries")
    tile: Triple = boundaries.tile
    shape = block_shape or choose_block_shape(
        volume.info, tile, halos, memory_bytes, batch=boundaries.batch
    )
    check_tile(tile, shape, volume.shape)
    store = _open_output(output, volume, source, shape, overwrite, write)
    check_tile(tile, store.block_shape, volume.shape)
    run = Run(volume, mask, source, resolved, store, chosen.name)
    if not write:
        return run
    with run.ledger.lock():
        store.set_attributes(
            {
                "config": json.loads(resolved.model_dump_json()),
                "input": _identity(volume, source),
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
        identity = attributes["input"]
        roi = Box(*(tuple(c) for c in identity["roi"])) if identity["roi"] else None
        size = identity["voxel_size_argument"]
        mask = identity.get("mask")
        source = Source(
            Path(identity["path"]),
            identity["level"],
            tuple(size) if size else None,
            roi,
            Path(mask) if mask else None,
        )
        config = parse_config(attributes["config"], f"{output}: stored configuration")
        device = attributes["provenance"]["device"]
    except (KeyError, TypeError) as error:
        raise OutputError(
            f"{output}: its run was never prepared ({error}); run it again"
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


def _open_output(
    path: Path, volume: Volume, source: Source, block_shape: Triple, overwrite: bool, write: bool
) -> Output:
    if source.mask is not None:
        check_apart(source.mask, path)
    if not write and (overwrite or not is_output(path)):
        return _foreseen_output(path, volume, source, block_shape)
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


def _foreseen_output(path: Path, volume: Volume, source: Source, block_shape: Triple) -> Output:
    """The store that a run would make, with the same errors, but not made."""
    for one in (source.path, volume.source.node.path):
        check_apart(one, path)
    if not is_output(path):
        make_room(path, overwrite=False)
    return Output(path, volume.shape, volume.voxel_size_nm, volume.translation_nm, block_shape)


def _identity(volume: Volume, source: Source) -> dict[str, Any]:
    size = source.voxel_size_nm
    return {
        "path": str(source.path.resolve()),
        "level": volume.level,
        "roi": [list(source.roi.begin), list(source.roi.end)] if source.roi else None,
        "mask": str(source.mask.resolve()) if source.mask else None,
        "voxel_size_argument": list(size) if size else None,
        "shape": list(volume.shape),
        "voxel_size_nm": list(volume.voxel_size_nm),
        "dtype": volume.dtype,
        "fingerprint": volume.fingerprint(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("neuron-pipeline", "torch", "bioimage-cpp", "zarr", "numpy", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
