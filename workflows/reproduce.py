"""One result had again, in seven steps; killed anywhere, the same call goes on.

1. Data: found in a folder, or fetched.
2. Voxels: imported to zarr, and recognised as those that the expected scores were measured on.
3. Network: the shipped one, or one that is trained now.
4. Leakage: whether a model learned from what is to be scored.
5. Run: the same as the verb ``run``.
6. Scores: the same as those of ``evaluate``.
7. Comparison with the expected scores, and the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import load_config
from pipeline.contract import Box
from pipeline.errors import ConfigError, InputError
from pipeline.registry import STAGES
from workflows.cluster import Workplace
from workflows.fetching import Patience, size_of
from workflows.fingerprints import file_hash
from workflows.prepare import Run, prepare
from workflows.quantities import duration, size
from workflows.reconstruct import reconstruct
from workflows.reproduction import Download, Form, Reproduction
from workflows.reproduction_data import (
    Found,
    check_voxels,
    fetch_all,
    find_all,
    read_voxels,
    to_fetch,
)
from workflows.reproduction_expected import (
    Expected,
    measured_here,
    read_expected,
    record,
)
from workflows.reproduction_report import Outcome, compare, notes_of, score, write_report
from workflows.reproduction_training import train_network
from workflows.seen_data import require_unseen
from workflows.source import Source

STEPS = 7
Say = Callable[[str], None]
Agree = Callable[[str], None]
"""Given what would be fetched, from where and on which terms; raises if people do not want it."""


@dataclass(frozen=True)
class Request:
    """How a reproduction is to be run.

    Parameters
    ----------
    form
        The whole, or its quick form.
    data
        Folder that holds the data; ``None``: they come along, or are fetched.
    cache
        Folder for what is fetched, one below it for every reproduction.
    output
        Folder that gets ``NAME/FORM``.
    workplace
        Where the run works.
    device
        Of the network.
    train
        Train a network first.
    allow_seen
        Score what a model learned from, too, and mark it.
    record
        Write the scores down as the expected ones; what was recorded before is not looked at.
    command
        How it was called.
    patience
        With servers; ``None``: as usual.
    """

    form: Form = "full"
    data: Path | None = None
    cache: Path = Path()
    output: Path = Path("reproduced")
    workplace: Workplace = field(default_factory=Workplace)
    device: str = "auto"
    train: bool = False
    allow_seen: bool = False
    record: bool = False
    command: str = ""
    patience: Patience | None = None

    @property
    def kind(self) -> str:
        """Name of the folder: results of different kinds never mix."""
        return f"{self.form}-trained" if self.train else self.form


def reproduce(
    reproduction: Reproduction, written: Path, request: Request, agree: Agree, say: Say
) -> tuple[Outcome, Path]:
    """Do all steps, or those that are missing.

    Parameters
    ----------
    reproduction, written
        And the YAML file that it is of; beside it lie its expected scores.
    request
        How.
    agree
        Asked before anything is fetched.
    say
        Told each step.

    Returns
    -------
    outcome, report
        And the path of the report.

    Raises
    ------
    PipelineError
        If the data are not there, or others; see the steps.
    """
    _check(reproduction, request)
    folder = request.output / reproduction.name / request.kind
    expected = None if request.record else read_expected(written, request.form)
    recorded = expected.voxels if expected else {}

    files, where = _data(reproduction, request, agree, say)
    extent = reproduction.forms[request.form]
    voxels = read_voxels(reproduction, files, extent, folder, recorded)
    check_voxels(voxels.digests, recorded, where)
    state = "are those of the record" if recorded else "are not recorded yet"
    _step(say, 2, f"{' x '.join(map(str, voxels.raw.shape))} voxels {state}")

    network = None
    if request.train:
        network = train_network(
            reproduction,
            files,
            request.form,
            folder / "training",
            device=request.device,
            command=request.command,
        )
    _step(say, 3, f"network {network or 'as shipped'}")

    run = _prepared(reproduction, request, voxels.volume, folder, network)
    paths = _model_files(run)
    seen = require_unseen(
        voxels.raw,
        paths,
        what=reproduction.name,
        allow=request.allow_seen,
        first=extent.sections[0],
    )
    _step(
        say, 4, "something of it was learned from" if seen else "no model is known to have seen it"
    )

    reconstruct(run, request.workplace)
    seconds = _seconds(run)
    _step(say, 5, f"{run.output.path}: done in {duration(seconds)}")

    labels = run.output.read("neurons", Box((0, 0, 0), run.volume.shape))
    scores = score(reproduction, labels, voxels.truths)
    _step(say, 6, f"{len(scores)} scores")

    boundaries: Any = run.config.section("boundaries")
    models = {path.name: file_hash(path) for path in paths}
    now = measured_here(run.device, boundaries.precision, seconds)
    outcome = Outcome(
        name=reproduction.name,
        form=request.form,
        rows=compare(reproduction, scores, expected, trained=request.train),
        notes=notes_of(expected, models, now, trained=request.train),
        seen=tuple(map(str, seen)),
        files={name: str(file) for name, file in files.items()},
        voxels=voxels.digests,
        models=models,
        measured=now,
        command=request.command,
    )
    if request.record:
        made = Expected(
            scores=outcome.scores, voxels=dict(voxels.digests), models=models, measured=now
        )
        say(f"recorded in {record(written, request.form, made)}")
    report = write_report(outcome, reproduction, folder)
    _step(say, 7, f"report: {report}")
    return outcome, report


def _step(say: Say, number: int, text: str) -> None:
    say(f"[{number}/{STEPS}] {text}")


def _check(reproduction: Reproduction, request: Request) -> None:
    if request.form not in reproduction.forms:
        raise ConfigError(f"{reproduction.name} has no {request.form} form")
    if request.record and (request.train or request.allow_seen):
        raise ConfigError("--record is for the shipped network on data that it never saw")
    if request.train and reproduction.learning is None:
        raise ConfigError(f"{reproduction.name} has no part to learn from; leave --train out")


def _data(
    reproduction: Reproduction, request: Request, agree: Agree, say: Say
) -> tuple[Mapping[str, Found], Path]:
    """Step 1."""
    cache = request.cache / reproduction.name
    where = request.data or reproduction.folder or cache
    if request.data is None and reproduction.folder is None:
        wanted = to_fetch(reproduction, cache)
        if wanted:
            agree(offer(reproduction, wanted, cache))
            fetch_all(wanted, cache, request.patience)
    files = find_all(where, reproduction)
    if not files:
        raise InputError(_not_found(reproduction, where))
    _step(say, 1, f"data: {', '.join(str(file) for file in files.values())}")
    return files, where


def offer(reproduction: Reproduction, wanted: Sequence[Download], cache: Path) -> str:
    """What would be fetched: files, sizes, terms, and where they go."""
    lines = [f"{reproduction.name} needs:"]
    for one in wanted:
        known = one.megabytes * (1 << 20) if one.megabytes else size_of(one.url)
        lines.append(f"  {one.url} ({size(known) if known else 'size unknown'})")
    lines += [f"to {cache}", f"Terms: {reproduction.terms}", f"Cite: {reproduction.cite}"]
    return "\n".join(lines)


def _not_found(reproduction: Reproduction, where: Path) -> str:
    raw = ", ".join(reproduction.raw.found_as)
    truths = ", ".join(n for truth in reproduction.truths.values() for n in truth.found_as)
    return (
        f"{where} holds not the data of {reproduction.name}: one of {raw}, and one of {truths}. "
        f"{reproduction.by_hand}"
    ).strip()


def _prepared(
    reproduction: Reproduction, request: Request, volume: Path, folder: Path, network: Path | None
) -> Run:
    """The run of step 5, checked."""
    changes = [] if network is None else [f"boundaries.model={network.absolute()}"]
    return prepare(
        Source(volume, None, None, None),
        load_config(reproduction.config, changes),
        folder / "neurons.zarr",
        device=request.device,
        memory_bytes=request.workplace.task_bytes(),
        command=request.command,
        workplace=request.workplace,
    )


def _seconds(run: Run) -> float:
    """Of all stages, also in earlier calls that were interrupted."""
    records = (run.ledger.record(stage.name) for stage in STAGES)
    return sum(one.seconds for one in records if one is not None)


def _model_files(run: Run) -> list[Path]:
    """Network and forests."""
    return [
        Path(file)
        for stage in STAGES
        if stage.files
        for file in stage.files(run.config.section(stage.name))
    ]
