"""Statistics of the edges and nodes of one block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import KEY, UINT8_MAX, Block, Inputs, Outputs, Resources, Table
from pipeline.corrections import Corrections
from pipeline.features.channels import (
    INPUTS,
    Scale,
    channel_names,
    filtered,
    response_names,
    scales,
    sources,
)
from pipeline.features.config import FeaturesConfig
from pipeline.features.samples import Samples, edge_samples, node_samples
from pipeline.features.statistics import Statistics
from pipeline.features.totals import UPPER
from pipeline.grid import faces_box, faces_of


@dataclass(frozen=True)
class Job:
    """Channels of edges that are made and measured together.

    Parameters
    ----------
    source
        ``raw`` or ``boundary``.
    scale
        Of the filters; ``None``: the input itself.
    first
        Place of the first channel among all.
    """

    source: str
    scale: Scale | None
    first: int


def measured_parts(
    block: Block, inputs: Inputs, config: FeaturesConfig, resources: Resources
) -> Outputs:
    """Statistics of one block; see ``stage.compute``.

    Channels are made, measured and dropped scale by scale, ``resources.threads`` scales at a
    time.
    """
    config, corrections = config.resolved(resources.volume), resources.corrections
    assert corrections is not None
    images = {"raw": _levels(block, inputs, corrections), "boundary": inputs["boundaries"]}
    faces = faces_of(block, corrections)
    box = faces_box(block, faces)
    inner = box.within(block.read)
    superpixels = inputs["superpixels"][inner]
    edges = edge_samples(faces, box, superpixels)
    of_edges = Statistics.unmeasured(edges, len(channel_names(config)))

    def measure(job: Job) -> None:
        image = images[job.source]
        if job.scale is None:
            channels = image[inner][..., None]
        else:
            channels = filtered(job.source, image, job.scale, inner)
        of_edges.measure(edges, job.first, channels)

    with ThreadPoolExecutor(resources.threads) as threads:
        list(threads.map(measure, _jobs(config, resources)))
    nodes = node_samples(block.write, box, superpixels)
    of_nodes = Statistics.unmeasured(nodes, len(INPUTS))
    for k, source in enumerate(INPUTS):
        of_nodes.measure(nodes, k, images[source][inner][..., None])
    return {"edges": _part(edges, of_edges), "nodes": _part(nodes, of_nodes)}


def _levels(block: Block, inputs: Inputs, corrections: Corrections) -> NDArray[np.uint8]:
    """Raw data as levels 0..255, section by section to hold few floating-point numbers."""
    begin = block.read.begin[0]
    raw = corrections.bridged(inputs["raw"], begin)
    levels = np.empty(raw.shape, np.uint8)
    for z, section in enumerate(raw):
        grey = corrections.normalise(section[None], np.array([begin + z]))[0]
        levels[z] = np.rint(grey * np.float32(UINT8_MAX))
    return levels


def _jobs(config: FeaturesConfig, resources: Resources) -> list[Job]:
    """All jobs, those that take longest first."""
    jobs, first = [], 0
    for source in sources(config):
        jobs.append(Job(source, None, first))
        first += 1
        for scale in scales(config, resources.volume):
            jobs.append(Job(source, scale, first))
            first += len(response_names(config))
    return sorted(jobs, key=lambda job: job.scale.sigma if job.scale else 0.0, reverse=True)


def _part(samples: Samples, statistics: Statistics) -> Table:
    """Statistics of samples by their ids: of nodes the key, of edges key and upper id."""
    group, narrow = statistics.narrowed()
    ids = np.atleast_2d(samples.ids.T)[:, group]
    return {**dict(zip((KEY, UPPER), ids, strict=False)), **narrow.table()}
