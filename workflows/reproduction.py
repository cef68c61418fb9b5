"""What a reproduction is: data, sections, configuration and scores, one YAML file each.

Beside ``NAME.yaml``, which people write, lies ``NAME.expected.json``, which only
``reproduce --record`` writes (``reproduction_expected``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.evaluation.isbi import TruthKind
from pipeline.packaged import packaged_reproductions, packaged_sample, reproduction_path
from workflows.yaml_models import read_yaml

Form = Literal["full", "quick"]
Score = Literal[
    "v_rand",
    "v_info",
    "arand_error",
    "arand_precision",
    "arand_recall",
    "voi_split",
    "voi_merge",
    "cremi",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Download(_Frozen):
    """One file at an address."""

    url: str = Field(description="https address.")
    file: str = Field(
        pattern=r"^[\w-][\w.-]*(/[\w-][\w.-]*)*$", description="Path that it gets in the cache."
    )
    megabytes: float | None = Field(
        None, gt=0, description="Size in MiB; null = the server is asked."
    )
    checksum: str | None = Field(
        None,
        pattern="^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$",
        description="Of the file; null = nobody has published it; the voxels are checked anyhow.",
    )
    source: str = Field(description="Where the address and the checksum are published.")


class Volume(_Frozen):
    """Where grey values may lie; the first path that exists is taken."""

    found_as: tuple[str, ...] = Field(
        min_length=1,
        description="Paths below the folder of the data: FILE, FILE.h5:DATASET, or "
        "ARCHIVE.zip//FILE for a file in any folder of an archive.",
    )


class Truth(Volume):
    """Ground truth, and what of it is scored."""

    kind: TruthKind = Field(description="labels (ids, 0 = not scored) or mask (0 = membrane).")
    scores: tuple[Score, ...] = Field(
        min_length=1,
        description="As `evaluate` names them: V_rand and V_info by section, others in 3D.",
    )
    bodies: str | None = Field(
        None,
        description="Dataset of the same HDF5 file with rows (id, body), by which ids of fragments "
        "become ids of neurons, where it is there.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        of_ids = [score for score in self.scores if not score.startswith("v_")]
        if self.kind == "mask" and of_ids:
            raise ValueError(f"a mask has no ids to score by {', '.join(of_ids)}")
        return self


class Extent(_Frozen):
    """Sections, and what of each, that are segmented and scored."""

    sections: tuple[int, int] = Field(description="First and one past the last z.")
    region: tuple[int, int, int, int] | None = Field(
        None, description="y begin, y end, x begin, x end; null = whole sections."
    )

    def box(self, shape: Triple, what: str) -> Box:
        """The voxels in a volume of this shape; ``InputError`` if it has them not."""
        depth, height, width = shape
        top, bottom, left, right = self.region or (0, height, 0, width)
        box = Box((self.sections[0], top, left), (self.sections[1], bottom, right))
        if box.end[0] > depth or bottom > height or right > width:
            raise InputError(f"{what}: has {shape} voxels; voxels up to {box.end} are needed")
        return box


class Learning(_Frozen):
    """What ``--train`` does."""

    truth: str = Field(description="Which truth the network learns from.")
    extent: Extent = Field(description="What it learns from; nothing of this is scored.")
    steps: int = Field(5000, ge=1, description="Optimiser steps.")
    quick_steps: int = Field(20, ge=1, description="Steps with --quick, to try the program.")


class Reproduction(_Frozen):
    """One result that can be had again by one command."""

    name: str = Field(pattern=r"^[\w-]+$", description="Name on the command line.")
    title: str = Field(description="One line: what is segmented and scored.")
    seen: str = Field(description="What of it the shipped model and forests saw, honestly.")
    terms: str = Field(description="Licence or terms of the data.")
    cite: str = Field(description="Whom to cite.")
    packaged: bool = Field(False, description="The data are the sample that comes along.")
    downloads: tuple[Download, ...] = Field((), description="Files to fetch; none: by hand only.")
    by_hand: str = Field("", description="Where people find the data if no address works.")
    voxel_size_nm: tuple[float, float, float] = Field(description="z, y, x.")
    raw: Volume = Field(description="Grey values.")
    truths: dict[str, Truth] = Field(
        min_length=1, description="By name; those that are not there are not scored."
    )
    forms: dict[Form, Extent] = Field(description="The whole, and a few sections or a corner.")
    config: str | None = Field(None, description="Preset; null = what `run` decides by itself.")
    tolerances: dict[Score, float] = Field(
        description="How far a score may lie from the expected one, on any machine."
    )
    learning: Learning | None = Field(None, description="For --train; null = nothing to learn.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        missing = {s for t in self.truths.values() for s in t.scores} - set(self.tolerances)
        if missing:
            raise ValueError(f"no tolerance for {', '.join(sorted(missing))}")
        if "full" not in self.forms:
            raise ValueError("forms: full is needed")
        learning = self.learning
        if learning is not None:
            if learning.truth not in self.truths:
                raise ValueError(f"learning.truth: there is no truth {learning.truth}")
            first, last = learning.extent.sections
            scored = [extent.sections for extent in self.forms.values()]
            if any(begin < last and first < end for begin, end in scored):
                raise ValueError("learning.extent: some of its sections are scored")
        return self

    @property
    def folder(self) -> Path | None:
        """Of the data, where they come with the program."""
        return packaged_sample() if self.packaged else None


def read_reproduction(name_or_path: str) -> tuple[Reproduction, Path]:
    """A reproduction by name, or of a YAML file, and where it is written down.

    Raises
    ------
    ConfigError
        If there is none, or it is wrong.
    """
    path = reproduction_path(name_or_path)
    return read_yaml(path, Reproduction), path


def all_reproductions() -> list[tuple[Reproduction, Path]]:
    """Those that come with the program; the quickest, which needs no data, first."""
    found = [read_reproduction(name) for name in packaged_reproductions()]
    return sorted(found, key=lambda pair: (not pair[0].packaged, pair[0].name))
