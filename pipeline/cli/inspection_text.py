"""What ``inspect`` prints: facts, a histogram, suspicious sections, and what to type next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.text_layout import (
    NAME,
    by,
    by_closely,
    percent,
    plain_table,
    print_facts,
    print_lines,
)

if TYPE_CHECKING:
    from workflows.finished_output import OutputFacts
    from workflows.forecast import Foreseen
    from workflows.inspection import Inspection
    from workflows.outlook import Outlook
    from workflows.path_content import Inside
    from workflows.sampling import Sample
    from workflows.section_findings import SectionFindings
    from workflows.subject import LevelFacts, Subject
    from workflows.voxel_values import Values

BAR = 40
"""Characters of the longest bar."""
REMARKABLE = 0.01
"""Share of saturated voxels that is worth a word."""
USES = {
    "labels": "ground truth, for evaluate and train",
    "mask": "a mask (0 = not segmented), or as membranes to train with",
}
WIDTH = 100
"""Characters a line may have where the output is no terminal."""


def print_inspection(found: Inspection) -> None:
    """Print all of it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    if found.output:
        _print_output(console, found.output)
    elif found.inside:
        _print_inside(console, found.path, found.inside)
    elif found.subject:
        _print_volume(console, found, found.subject)


def _print_volume(console: Console, found: Inspection, subject: Subject) -> None:
    print_lines(console, [f"{subject.path}: {subject.format}", ""])
    print_facts(console, _metadata(subject))
    if subject.levels:
        console.print(_levels(subject.levels))
    for warning in subject.warnings:
        print_facts(console, [("warning", warning)])
    if found.values and found.sample:
        _print_values(console, found.values, found.sample)
    elif not found.damage:
        print_lines(console, ["", "values (not looked at: --fast)"])
    if found.sections and found.sample:
        _print_sections(console, found.sections, found.sample)
    if found.damage:
        print_lines(console, ["", "voxels"])
        print_facts(console, [("damaged", found.damage)])
    if found.outlook:
        _print_outlook(console, found.outlook, found.sections)


def _metadata(subject: Subject) -> Iterator[tuple[str, str]]:
    from workflows.quantities import size

    axes = ", ".join(subject.axes) or "not named"
    yield "voxels", f"{by(subject.shape)} (z, y, x)"
    if len(subject.stored_shape) != 3 or subject.axes not in ("", "zyx"):
        yield "stored", f"{by(subject.stored_shape)} ({axes})"
    if subject.choice:
        yield "looked at", "the first channel or time point"
    order = {"little": ", little endian", "big": ", big endian"}.get(subject.byte_order, "")
    yield "dtype", f"{subject.dtype.name}{order}"
    if isinstance(subject.voxel_size_nm, str):
        yield "voxel size", f"unknown: {subject.voxel_size_nm}"
    else:
        yield "voxel size", f"{by(subject.voxel_size_nm)} nm, from {subject.voxel_size_from}"
    if any(subject.translation_nm):
        yield "begins at", f"{by(subject.translation_nm)} nm (z, y, x)"
    yield "chunks", f"{by(subject.chunk)} (read at once)"
    if subject.codecs:
        yield "compression", ", ".join(subject.codecs)
    voxels = math.prod(subject.stored_shape) * subject.dtype.itemsize
    on_disk = "" if subject.disk_bytes is None else f"{size(subject.disk_bytes)} on disk, "
    yield "size", f"{on_disk}{size(voxels)} as plain voxels"
    yield from subject.facts.items()


def _levels(levels: Sequence[LevelFacts]) -> Table:
    table = plain_table("level", "voxels", "nm", "chunks", "files of", "coded by", "files there")
    for number, one in enumerate(levels):
        name = str(number) if one.name == str(number) else f"{number} ({one.name})"
        size = "?" if isinstance(one.voxel_size_nm, str) else by_closely(one.voxel_size_nm)
        if one.array is None or one.shape is None:
            table.add_row(name, "cannot be opened", size)
            continue
        array = one.array
        there = "not counted" if array.files_present is None else str(array.files_present)
        table.add_row(
            name,
            by_closely(one.shape),
            size,
            by_closely(array.chunks),
            by_closely(array.shards) if array.shards else "a chunk",
            ", ".join(array.codecs) or "-",
            f"{there} of {array.files}",
        )
    return table


def _print_values(console: Console, values: Values, sample: Sample) -> None:
    share = "all" if sample.is_whole else f"{percent(sample.share)} of all, evenly spread"
    print_lines(console, ["", f"values ({share})"])
    print_facts(console, _range(values))
    if values.looks_like == "grey values":
        print_lines(console, [f"  {line}" for line in _bars(values)])
        print_facts(console, _content(values))


def _range(values: Values) -> Iterator[tuple[str, str]]:
    if values.lowest is None or values.highest is None:
        yield "range", "no finite value"
    else:
        shown = [f"lowest {values.lowest:g}"]
        shown += [f"{_name(p)} {v:g}" for p, v in values.percentiles.items()]
        yield "range", ", ".join([*shown, f"highest {values.highest:g}"])
    if values.nan or values.infinite:
        yield "not finite", f"{values.nan} NaN, {values.infinite} infinite: run refuses them"
    if values.looks_like in ("labels", "a mask", "nothing"):
        many = f"{values.distinct} different values, " if values.distinct else ""
        looks = "constant" if values.looks_like == "nothing" else values.looks_like
        yield "looks like", f"{looks}: {many}{percent(values.zero)} are 0"


def _name(percentile: float) -> str:
    return "median" if percentile == 50 else f"{percentile:g} %"


def _bars(values: Values) -> Iterator[str]:
    rows = values.histogram
    highest = max((share for _, _, share in rows), default=0.0)
    width = max((len(f"{begin:.4g}") for begin, _, _ in rows), default=0)
    for begin, _, share in rows:
        length = round(BAR * share / highest) if highest else 0
        bar = "#" * max(length, 1 if share else 0)
        shown = f"{100 * share:.1f}" if share >= 0.0005 or not share else "<0.1"
        yield f"{begin:>{max(width, NAME - 3)}.4g} {bar:<{BAR}} {shown:>6} %"


def _content(values: Values) -> Iterator[tuple[str, str]]:
    from workflows.voxel_values import PADDING_WIDTH

    squares = f"in squares of {PADDING_WIDTH} x {PADDING_WIDTH} or more"
    padding = [f"{percent(share)} are {value:g}" for value, share in values.padding]
    yield "padding", f"{', '.join(padding)}, {squares}" if padding else "none"
    low, high = values.saturated
    if max(low, high) >= REMARKABLE:
        yield (
            "saturated",
            f"{percent(low)} as dark as can be, {percent(high)} as bright as can be",
        )


def _print_sections(console: Console, sections: SectionFindings, sample: Sample) -> None:
    (top, bottom), (left, right) = sample.window
    depth = sample.shape[0]
    which = f"all {depth}" if sample.sections == depth else f"{sample.sections} of {depth}"
    part = "" if sample.is_whole else f", the middle {bottom - top} x {right - left} of each"
    print_lines(console, ["", f"sections ({which}{part})"])
    if sections.note:
        print_facts(console, [("note", sections.note)])
    if not sections.findings:
        print_lines(console, ["  nothing suspicious"] if sections.judged else [])
        return
    table = plain_table("z", "what", "evidence")
    for one in sections.findings:
        table.add_row("all" if one.z is None else str(one.z), one.what, Text(one.evidence))
    console.print(table)


def _print_outlook(console: Console, ahead: Outlook, sections: SectionFindings | None) -> None:
    print_lines(console, ["", "what run would do" if ahead.use == "run" else "what it is good for"])
    if ahead.use != "run":
        use = USES[ahead.use]
        print_facts(console, [("used as", f"{use}, beside a volume of grey values")])
    if ahead.foreseen:
        print_facts(console, _foreseen(ahead.foreseen))
    for sentence in sections.handled if sections else ():
        print_facts(console, [("sections", sentence)])
    if ahead.preset:
        print_facts(
            console, [("preset", f"--config {ahead.preset} was made for such a voxel size")]
        )
    for remark in ahead.remarks:
        print_facts(console, [("note", remark)])
    for problem in ahead.problems:
        print_facts(console, [("problem", problem)])
    print_lines(console, ["", "next: " + "\n      ".join(ahead.commands)])


def _foreseen(ahead: Foreseen) -> Iterator[tuple[str, str]]:
    from workflows.quantities import size

    if ahead.level:
        yield "level", f"{ahead.level}: {by(ahead.shape)} voxels of {by(ahead.voxel_size_nm)} nm"
    flat = "section by section (2D superpixels)"
    yield "treated", flat if ahead.superpixels == "2d" else "as a volume (3D superpixels)"
    planes = "sections along z" if ahead.planes == "xy" else "sections along z, y and x, combined"
    yield "boundaries", f"{planes}; {_pixels(ahead)}"
    yield "blocks", f"{ahead.blocks} of {by(ahead.block_shape)} voxels"
    yield "needs", f"about {size(ahead.memory_bytes)} of memory, {size(ahead.disk_bytes)} of disk"


def _pixels(ahead: Foreseen) -> str:
    """What the network sees, and whether it knows such pixels."""
    pixel = ahead.pixel_nm or min(ahead.voxel_size_nm[1:])
    shown = f"{'resampled to ' if ahead.pixel_nm else ''}pixels of {pixel:.3g} nm"
    if ahead.known_nm is None:
        return shown
    low, high = ahead.known_nm
    known = "which the network knows" if low <= pixel <= high else "which the network never saw"
    return f"{shown}, {known} ({low:.3g} to {high:.3g} nm)"


def _print_output(console: Console, output: OutputFacts) -> None:
    print_lines(console, [f"{output.path}: output of run", ""])
    print_facts(
        console,
        [
            ("made from", output.input or "not noted"),
            ("voxels", f"{by(output.shape)} of {by(output.voxel_size_nm)} nm (z, y, x)"),
            ("blocks", by(output.block_shape)),
            ("state", output.state),
        ],
    )
    table = plain_table("array", "at", "kind", "voxels", "dtype", "chunks", "files there")
    for one in output.arrays:
        there = "not counted" if one.facts.files_present is None else str(one.facts.files_present)
        table.add_row(
            one.name,
            one.path or ".",
            one.kind,
            by_closely(one.facts.shape),
            one.facts.dtype,
            by_closely(one.facts.chunks),
            f"{there} of {one.facts.files}",
        )
    if output.arrays:
        console.print(table)
    print_lines(console, [f"next: python -m pipeline status {output.path}"])


def _print_inside(console: Console, path: str, inside: Sequence[Inside]) -> None:
    print_lines(console, [f"{path}: holds {len(inside)}; give one of them"])
    table = plain_table("path", "what", "voxels", "dtype")
    for one in inside:
        shape = by_closely(one.shape) if one.shape else "-"
        table.add_row(Text(one.path), Text(one.problem or one.format), shape, one.dtype)
    console.print(table)
