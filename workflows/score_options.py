"""What ``evaluate`` scores beside the main scores, what it leaves out of all of them, and how."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError, InputError
from pipeline.evaluation.families import OF_ALL, Family, FamilyScores, require_families
from pipeline.evaluation.isbi import TruthKind
from pipeline.evaluation.skeletons import RunLength, expected_run_length, nodes_inside, read_swc
from pipeline.store import StoredVolume


@dataclass(frozen=True)
class ScoreOptions:
    """What to score beside the main scores, what to leave out of all of them, and how.

    Parameters
    ----------
    families
        See ``pipeline.evaluation.families``.
    every
        All families that fit, ``classes`` only if it is among ``families``.
    worst
        Rows of the table of the worst splits and merges, 0 = no table.
    skeletons
        Folder of SWC files, nanometres.
    ignore_ids
        True ids, separated by commas.
    ignore_band
        Pixels round true boundaries.
    mask
        Volume, of the truth's or the prediction's shape; 0 = not scored.
    workers
        Sections that are scored at a time; changes no score.
    keep
        Folder in which finished slabs are kept, so that the same command goes on from there.
    """

    families: tuple[str, ...] = ()
    every: bool = False
    worst: int = 0
    skeletons: Path | None = None
    ignore_ids: str | None = None
    ignore_band: int = 0
    mask: Path | None = None
    workers: int = 1
    keep: Path | None = None


def chosen_families(options: ScoreOptions, kind: TruthKind, score_map: bool) -> tuple[Family, ...]:
    """What was asked for; of "all" only what fits these volumes."""
    chosen = list(require_families(options.families))
    if options.every and score_map:
        chosen.append("challenges")
    elif options.every:
        chosen += [name for name in OF_ALL if kind == "labels" or name != "instance"]
    return tuple(dict.fromkeys(chosen))


def id_numbers(ids: str | None) -> list[int]:
    """Ids separated by commas; ``ConfigError`` if they are none."""
    if ids is None:
        return []
    try:
        numbers = [int(name) for name in ids.split(",")]
    except ValueError:
        raise ConfigError(f"--ignore-ids {ids!r}: give ids as 3,7") from None
    if min(numbers) < 0 or max(numbers) >= 1 << 64:
        raise ConfigError(f"--ignore-ids {ids!r}: ids are 0 or more, below 2^64")
    return numbers


def score_skeletons(
    labels: StoredVolume, skeletons: Path | None, begin: int, end: int
) -> RunLength | None:
    """Expected run length of sections ``begin .. end - 1`` of a volume.

    Only labels at the nodes are read.

    Raises
    ------
    InputError
        If the volume has no voxel size, or the skeletons cannot be read or lie outside.
    """
    if skeletons is None:
        return None
    if labels.voxel_size_nm is None:
        raise InputError(
            "the prediction has no voxel size, so positions in nanometres cannot be found in it; "
            "give an output store or an OME-Zarr image"
        )
    shape, origin = (end - begin, *labels.shape[1:]), (begin, 0, 0)
    inside, voxels = nodes_inside(read_swc(skeletons), shape, labels.voxel_size_nm, origin)
    return expected_run_length(inside, labels.at(voxels + np.array(origin)))


def with_families(scores: str, more: FamilyScores) -> str:
    """The JSON of the main scores, with a key for every further family."""
    further = more.as_dict()
    return json.dumps(json.loads(scores) | further, indent=2) if further else scores
