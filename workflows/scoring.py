"""All scores of sections on disk, slab by slab, with a bar where it takes long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pipeline.contract import Triple
from pipeline.evaluation.blockwise import Each, Measures, label_part, map_part, scored_number
from pipeline.evaluation.families import (
    Family,
    FamilyScores,
    family_scores,
    map_family_scores,
    require_fitting,
    require_fitting_map,
    with_families,
    worst_of,
)
from pipeline.evaluation.isbi import TruthKind
from pipeline.evaluation.merging import Mergeable, merge_all
from pipeline.evaluation.part_columns import (
    label_columns,
    label_part_of,
    map_columns,
    map_part_of,
)
from pipeline.evaluation.regions import require_scored
from pipeline.evaluation.scores import MapScores, Scores, label_scores, map_scores
from pipeline.evaluation.slabs import Slab
from workflows.kept_slabs import KeptSlabs, open_folder
from workflows.progress import Advance, progress_bar
from workflows.scored_sections import StoredSections

MOMENT_SECONDS = 5.0
"""What takes less has no bar."""

Part = TypeVar("Part", bound=Mergeable)


def score_label_sections(
    sections: StoredSections,
    kind: TruthKind,
    families: tuple[Family, ...] = (),
    *,
    worst: int = 0,
    origin: Triple = (0, 0, 0),
    voxel_size_nm: tuple[float, float, float] | None = None,
    workers: int = 1,
    keep: Path | None = None,
) -> tuple[Scores, FamilyScores]:
    """The main scores of labels, and those of families.

    Parameters
    ----------
    sections
        Read once; those with the worst objects three times.
    kind
        Of truth.
    families
        What is scored beside the main scores.
    worst
        Rows of the table of worst objects, 0 = no table.
    origin
        Added to its coordinates.
    voxel_size_nm
        zyx, nanometres; only recorded.
    workers
        Sections that are scored at a time; changes no score.
    keep
        Folder in which finished slabs are kept, and looked for.

    Raises
    ------
    InputError
        If a family cannot be scored on a mask, nothing is left to score, or values do not fit.
    ConfigError
        If ``keep`` holds slabs of another evaluation.
    """
    require_fitting(families, kind, worst)
    measures = Measures(kind, boundaries=True, tables=kind == "labels")
    measures = with_families(measures, families, worst)
    kept = None
    if keep is not None:
        folder = open_folder(keep, sections, measures)
        kept = KeptSlabs(folder, label_columns, label_part_of)
    part = _gathered(sections, lambda slab, each: label_part(slab, measures, each), workers, kept)
    require_scored(scored_number(part.rows))
    scores = label_scores(part, sections.shape, kind, voxel_size_nm)
    more = family_scores(part, families, kind)
    if worst:
        with late_bar("worst objects") as progress:
            more = replace(more, worst=worst_of(part, sections, worst, origin, progress))
    return scores, more


def score_map_sections(
    sections: StoredSections,
    kind: TruthKind,
    families: tuple[Family, ...] = (),
    *,
    workers: int = 1,
    keep: Path | None = None,
) -> tuple[MapScores, FamilyScores]:
    """The main scores of a boundary map, and those of families; as ``score_label_sections``."""
    require_fitting_map(families)
    measures = with_families(Measures(kind, boundaries=True), families)
    kept = None
    if keep is not None:
        kept = KeptSlabs(open_folder(keep, sections, measures), map_columns, map_part_of)
    part = _gathered(sections, lambda slab, each: map_part(slab, measures, each), workers, kept)
    require_scored(scored_number(part.rows))
    return map_scores(part, sections.shape, kind), map_family_scores(part, families)


def _gathered(
    sections: StoredSections,
    part_of: Callable[[Slab, Each], Part],
    workers: int,
    kept: KeptSlabs[Part] | None,
) -> Part:
    """Parts of all slabs, merged."""
    with late_bar("scores, sections") as progress, ThreadPoolExecutor(workers) as pool:
        each: Each = pool.map if workers > 1 else map
        return merge_all(_parts(sections, lambda slab: part_of(slab, each), kept, progress))


def _parts(
    sections: StoredSections,
    part_of: Callable[[Slab], Part],
    kept: KeptSlabs[Part] | None,
    progress: Callable[[int, int], None],
) -> Iterator[Part]:
    for begin, end in sections.slabs():
        part = kept.read(begin, end) if kept else None
        if part is None:
            part = part_of(sections.read(begin, end))
            if kept:
                kept.write(begin, end, part)
        yield part
        progress(end, sections.shape[0])


@contextmanager
def late_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar to call as ``progress(done, total)``, which comes only if the first moment is over."""
    began = time.monotonic()
    with ExitStack() as stack:
        shown: list[Advance] = []
        last = 0

        def progress(done: int, total: int) -> None:
            nonlocal last
            if shown:
                shown[0](done - last, "")
            elif done < total and time.monotonic() - began > MOMENT_SECONDS:
                shown.append(stack.enter_context(progress_bar(name, total, completed=done)))
            last = done

        yield progress
