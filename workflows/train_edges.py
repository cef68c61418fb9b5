"""Fit the random forests on boundary maps predicted out of fold.

1. Each annotated volume is halved along z; each half is predicted by the network that
   learned from the other halves, then goes through superpixels, graph and features.
2. The first forest learns from all clear edges (on request, those across sections get a forest
   of their own). Its calibrated out-of-bag probabilities (for edges that it did not learn from,
   its predictions) stand for P(cut).
3. Lifted edges and their features are made from those, and the second forest is fitted.
4. The shipped forests are scored on the same edges: with few annotated sections they may be
   better.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.boundaries.device import choose_device
from pipeline.errors import ConfigError
from pipeline.forests import save_forest
from workflows.edge_forests import Forests, fit_forests
from workflows.edge_parts import Part, out_of_fold_parts, targets_of
from workflows.edge_report import write_report
from workflows.edge_training import EdgeTraining, ForestConfig, read_edge_training
from workflows.shipped_forests import shipped_scores, verdict
from workflows.training_data import described
from workflows.training_record import record_of

LOG = logging.getLogger(__name__)

__all__ = [
    "EdgeTraining",
    "ForestConfig",
    "Forests",
    "Part",
    "fit_forests",
    "out_of_fold_parts",
    "read_edge_training",
    "targets_of",
    "train_edges",
]


def train_edges(
    config: EdgeTraining,
    data: Path,
    output: Path,
    networks: Sequence[Path],
    *,
    device: str = "auto",
    kept: Path | None = None,
) -> list[Path]:
    """Fit and write the forests, and a report.

    Parameters
    ----------
    config
        Volumes and parameters.
    data
        Folder that the volumes' paths are relative to.
    output
        Folder of the forests and of the report, ``<name>.json``, ``.md`` and ``.png``.
    networks
        Model files of fold 0 and fold 1.
    device
        Of the networks.
    kept
        Folder in which parts predicted out of fold are kept between calls.

    Returns
    -------
    paths
        ``edges-<name>.safetensors``, if split ``edges-<name>-across.safetensors``, and
        ``lifted-<name>.safetensors``.
    """
    if len(networks) != 2:
        raise ConfigError(f"give --network twice (fold 0, fold 1), not {len(networks)} times")
    config = all_of(config, data)
    learned_from = record_of(config.volumes, data, networks=networks).header
    parts = out_of_fold_parts(config, data, networks, choose_device(device), kept)
    metadata = {
        "licence": config.licence,
        "data": [v.model_dump(mode="json") for v in config.volumes],
        "networks": [p.name for p in networks],
    }
    forests = fit_forests(parts, config, metadata=metadata)
    output.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, fitted in (
        (f"edges-{config.name}", forests.edges),
        (f"edges-{config.name}-across", forests.across),
        (f"lifted-{config.name}", forests.lifted),
    ):
        if fitted is not None:
            paths.append(output / f"{name}.safetensors")
            save_forest(paths[-1], fitted.forest, learned_from)
    shipped = shipped_scores(parts, config)
    report = write_report(output, config.name, forests, shipped)
    for kind, one in shipped.items():
        LOG.info("%s: %s", kind, verdict(report[kind], one))
    return paths


def all_of(config: EdgeTraining, data: Path) -> EdgeTraining:
    """The same with described volumes, of which nothing is held back: so the record says it too."""
    found = [described(volume, data) for volume in config.volumes]
    for volume in found:
        if volume.held_back:
            LOG.warning("%s: forests learn from held_back too", volume.name)
    whole = (volume.model_copy(update={"held_back": None}) for volume in found)
    return config.model_copy(update={"volumes": tuple(whole)})
