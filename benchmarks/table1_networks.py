"""The networks of the paper's Table 1, all trained alike on ISBI 2012, scored beside the paper's.

Each network is trained on sections 0-13 and scored on 14-19: the map of a single pass, and the
mean and the maximum of 8 orientations, cut at the best threshold as the challenge does.

``python -m benchmarks.table1_networks --data DATA`` trains small shapes on a CPU, all with the
same number of steps; ``--shape paper --device cuda`` takes the papers' shapes, by our recipe for
a GPU (``--config configs/train/rc_spcnet_isbi2012.yaml``: by the paper's).

Networks, maps and scores are kept in ``--output``, a folder for each network: killed and started
again, it goes on where it was. ``--only NAME`` (repeatable) trains and scores these alone and
publishes nothing, so that several can run at a time; the call without it gives the table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.datasets import ISBI2012, Dataset
from benchmarks.endings import as_program
from benchmarks.isbi2012_maps import Predictor
from benchmarks.isbi2012_networks import NETWORKS, NetworkRows, Size
from benchmarks.isbi2012_table1 import Sections
from benchmarks.kept_trainings import is_finished, model_file, trained
from benchmarks.published import publish
from benchmarks.quality import scored_part
from benchmarks.table1_rows import Measured, as_table, measured, note_of
from pipeline.boundaries.device import choose_device
from pipeline.config import load_config
from workflows.train_boundaries import BoundaryTraining, read_training

CONFIGS: Mapping[Size, Path] = {
    "small": Path("configs/train/table1_cpu.yaml"),
    "paper": Path("configs/train/rc_spcnet_isbi2012_better.yaml"),
}
OUTPUTS: Mapping[Size, Path] = {"small": Path("runs/table1"), "paper": Path("runs/table1_paper")}
RESULTS: Mapping[Size, str] = {"small": "table1_networks", "paper": "table1_networks_paper"}
QUICK_STEPS = 3


def main(argv: Sequence[str] | None = None) -> Path | None:
    """Train what is missing, score, publish."""
    options = arguments(argv)
    device = choose_device(options.device)
    part = scored_part(ISBI2012, quick=options.quick)
    sections = sections_of(part, options.data)
    configs = {n.name: training_of(n, options) for n in NETWORKS}
    folder = options.output / "quick" if options.quick else options.output
    predictor = Predictor(load_config(None, []), part.voxel_size_nm, device, folder / "maps")
    found: dict[str, Measured] = {}
    for name in options.only or configs:
        model = network_file(configs[name], folder / name, options, device)
        if model is not None:
            found[name] = measured(
                sections,
                predictor,
                model,
                what=named(part),
                first=part.validate[0],
                allow=options.allow_seen,
            )
            print(f"{name}: {found[name]}", flush=True)
    if options.only:
        return None
    note = note_of(found, options.shape, options.config, configs)
    return publish(
        options.output,
        RESULTS[options.shape],
        title_of(options.shape),
        [as_table(found, named(part), configs, note)],
        quick=options.quick,
        values={
            "networks": {name: asdict(one) for name, one in found.items()},
            "training": {
                name: config.training.model_dump(mode="json") for name, config in configs.items()
            },
        },
    )


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; those that are not given follow from the shape."""
    names = [network.name for network in NETWORKS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, help="runs/table1, or runs/table1_paper")
    parser.add_argument("--shape", choices=tuple(CONFIGS), default="small", help="of the networks")
    parser.add_argument("--config", type=Path, help="training; network and name are replaced")
    parser.add_argument("--set", action="append", default=[], metavar="training.key=value")
    parser.add_argument("--only", action="append", default=[], choices=names, metavar="NAME")
    parser.add_argument("--minutes", type=float, help="of each training, instead of CONFIG's steps")
    parser.add_argument(
        "--skip-training", action="store_true", help="score what is finished, train nothing"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="a small part, to try the program")
    parser.add_argument("--allow-seen", action="store_true", help="score what was learned from too")
    options = parser.parse_args(argv)
    options.output = options.output or OUTPUTS[options.shape]
    options.config = options.config or CONFIGS[options.shape]
    return options


def sections_of(part: Dataset, data: Path) -> Sections:
    """The validation sections."""
    assert part.membranes is not None
    raw, membranes = (part.load(data, path, part.validate) for path in (part.raw, part.membranes))
    return Sections(raw, membranes)


def training_of(network: NetworkRows, options: argparse.Namespace) -> BoundaryTraining:
    """How a network is trained.

    The same as ``python -m pipeline train boundaries CONFIG --set name=... --set
    training.network=...``, so a folder of that command counts.
    """
    shape = json.dumps(network.network(options.shape))  # JSON is YAML
    own = [f"name={network.name}", f"training.network={shape}"]
    quick = [f"training.steps={QUICK_STEPS}"] if options.quick else []
    return read_training(options.config, [*own, *options.set, *quick])


def network_file(
    config: BoundaryTraining, folder: Path, options: argparse.Namespace, device: str
) -> Path | None:
    """The model, trained unless it is finished; ``None`` if nothing is to be trained.

    Raises
    ------
    ConfigError
        If the folder holds another training.
    """
    minutes = None if options.quick else options.minutes
    if options.skip_training:
        return model_file(config, folder) if is_finished(config, folder, minutes) else None
    return trained(
        config,
        folder,
        data=options.data,
        device=device,
        minutes=minutes,
        command=f"python -m benchmarks.table1_networks, {config.name}",
    )


def named(part: Dataset) -> str:
    """The validation sections, for people."""
    return f"ISBI 2012, sections {part.validate[0]}-{part.validate[1] - 1}"


def title_of(size: Size) -> str:
    """Heading of the whole, which says that small networks are small."""
    shapes = {"small": "small shapes", "paper": "the papers' shapes"}[size]
    return f"The networks of the paper's Table 1, trained here: {shapes}"


if __name__ == "__main__":
    as_program(main)
