"""Forests of the cross-validation over ISBI 2012, fitted without the fold that they will judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.isbi2012_study import Study
from pipeline.forests import save_forest
from workflows.annotated_volume import AnnotatedVolume
from workflows.edge_parts import LAST
from workflows.train_edges import EdgeTraining, Part, fit_forests
from workflows.training_record import record_of


def nested_part(study: Study, fold: int, scored: int) -> Part:
    """A fold up to the features of its edges, as the forests of the scored fold may see it."""
    model = study.nested_network(fold, scored)
    config = study.predictor.configured(model, "max", {"edges": "none", "lifted": "none"})
    tables = study.predictor.reconstructed(study.raw(fold), config, until=LAST)
    return Part(
        name=f"{study.dataset.name} z {study.folds[fold]}",
        volume=study.volume(fold),
        tables={name: table for name, table in tables.items() if name != "raw"},
        truth=study.truth(fold),
    )


def fitted_forests(study: Study, fold: int, parts: Sequence[Part], folder: Path) -> dict[str, Path]:
    """Stage -> file of the forest that learned from the parts, which says what it learned from."""
    config = forest_training(study, fold)
    networks = study.networks(fold)[1:]
    metadata = {
        "licence": config.licence,
        "data": [volume.model_dump(mode="json") for volume in config.volumes],
        "networks": [path.name for path in networks],
    }
    learned_from = record_of(config.volumes, study.data, networks=networks).header
    forests = fit_forests(parts, config, metadata=metadata)
    paths = {}
    for stage, fitted in (("edges", forests.edges), ("lifted", forests.lifted)):
        paths[stage] = folder / f"{stage}-{config.name}.safetensors"
        save_forest(paths[stage], fitted.forest, learned_from)
    return paths


def forest_training(study: Study, fold: int) -> EdgeTraining:
    """Configuration of the forests of a fold: its volumes are the other folds."""
    dataset = study.dataset
    volumes = [
        AnnotatedVolume(
            name=dataset.name,
            raw=dataset.raw,
            truth=dataset.truth,
            truth_kind="labels",
            sections=study.folds[other],
            region=dataset.region,
            voxel_size_nm=dataset.voxel_size_nm,
        )
        for other in study.others(fold)
    ]
    return EdgeTraining(
        name=f"without-{fold}",
        licence="the terms of the annotated data",
        volumes=tuple(volumes),
        pipeline=study.config.model_dump(mode="json"),
        edges=study.forest,
        lifted=study.forest,
    )
