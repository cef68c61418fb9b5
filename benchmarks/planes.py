"""Isotropic volumes: boundaries predicted in xy sections alone, or along three planes.

FIB-25, z 100-149, never seen by a model or forest: the map of one plane, the mean and the maximum
of three; each thresholded, cut with its mean boundary as P(cut), and by the shipped forests
(which learned from the mean of three planes).

``python -m benchmarks.planes --data DATA``
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import FIB25
from benchmarks.endings import as_program
from benchmarks.published import publish
from benchmarks.quality import (
    arguments,
    as_markdown,
    graph_rows,
    graph_sentence,
    map_row_3d,
    models_of,
    volume_info,
)
from benchmarks.quality_rows import marked
from pipeline.config import PipelineSections, load_config, parse_config
from pipeline.packaged import model_path
from workflows.in_memory import reconstruct_array
from workflows.seen_data import require_unseen

WAYS = {
    "xy": ("xy", "mean"),
    "mean of three": ("three", "mean"),
    "maximum of three": ("three", "max"),
}


def main() -> None:
    """All ways, one after the other; maps are kept in the output folder."""
    options = arguments(__doc__ or "")
    begin, end = FIB25.validate
    if options.quick:
        end = begin + 8
    raw = FIB25.load(options.data, FIB25.raw, (begin, end))
    truth = FIB25.load(options.data, FIB25.truth, (begin, end))
    if options.quick:
        raw, truth = raw[:, :96, :96], truth[:, :96, :96]
    seen = require_unseen(
        raw,
        models_of(load_config(options.config, options.set), volume_info(FIB25, raw)),
        what=f"{FIB25.name}, sections {begin}-{end - 1}",
        allow=options.allow_seen,
    )
    rows: list[dict[str, Any]] = []
    parts = []
    for title, (planes, combine) in WAYS.items():
        config = _with_planes(load_config(options.config, options.set), planes, combine)
        began = time.monotonic()
        given = {"boundaries": _map(options, raw, config)}
        result = reconstruct_array(raw, FIB25.voxel_size_nm, config, given=given)
        result["boundaries"] = given["boundaries"]
        found = map_row_3d("thresholded map", given["boundaries"], truth, None, flat=False)
        found += graph_rows(result, truth, None, FIB25, config)
        found = marked(found, seen)
        print(f"{title}: {time.monotonic() - began:.0f} s", flush=True)
        parts.append(f"## {title}\n\n{as_markdown(found)}\n{graph_sentence(result)}\n")
        rows += [{"planes": title, **asdict(row)} for row in found]
    publish(
        options.output,
        "planes",
        f"Planes of prediction: FIB-25, z {begin}-{end - 1}",
        (),
        text="\n".join(parts),
        quick=options.quick,
        values={"rows": rows},
    )


def _with_planes(config: PipelineSections, planes: str, combine: str) -> PipelineSections:
    values = config.model_dump()
    values["boundaries"] |= {"planes": planes, "combine_planes": combine}
    return parse_config(values, planes)


def _map(
    options: argparse.Namespace, raw: NDArray[Any], config: PipelineSections
) -> NDArray[np.uint8]:
    """The boundary map; predicted once for a network, a configuration and the raw data."""
    section: Any = config.section("boundaries")
    facts = hashlib.sha256(model_path(section.model).read_bytes())
    facts.update(json.dumps(section.model_dump(mode="json"), sort_keys=True).encode())
    facts.update(raw.tobytes())
    kept = options.output / f"planes-{facts.hexdigest()[:12]}.npy"
    if not kept.exists():
        predicted = reconstruct_array(
            raw, FIB25.voxel_size_nm, config, device=options.device, until="boundaries"
        )
        options.output.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f".{kept.name}")
        np.save(partial, predicted["boundaries"])
        partial.replace(kept)
    found: NDArray[np.uint8] = np.load(kept)
    return found


if __name__ == "__main__":
    as_program(main)
