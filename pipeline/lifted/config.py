"""Which lifted edges are made, and what is measured on them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator

from pipeline.contract import StageConfig, VolumeInfo
from pipeline.errors import ConfigError

Share = Annotated[float, Field(gt=0, lt=1)]
Exponent = Annotated[float, Field(ge=0, le=1)]
Family = Literal["paths", "clustering", "regions", "geometry"]
FAMILIES: tuple[Family, ...] = ("paths", "clustering", "regions", "geometry")


def exponent_name(exponent: float) -> str:
    """An exponent as in the name of its column."""
    return f"{exponent:g}"


class LiftedConfig(StageConfig):
    """Lifted neighbourhood, its features, and the second forest."""

    forest: str = Field(
        "auto",
        min_length=1,
        description="Forest file or packaged name; auto = by the volume's anisotropy; "
        "none = no lifted edges, a plain multicut.",
    )
    families: tuple[Family, ...] = Field(
        FAMILIES,
        min_length=1,
        description="Families of features of lifted edges that are computed; see `python -m "
        "pipeline features`.",
    )
    max_distance: Literal["auto"] | Annotated[int, Field(ge=2, le=6)] = Field(
        "auto",
        description="Steps in the graph between the ends of a lifted edge, at most; "
        "auto = 3 for flat sections, 2 otherwise.",
    )
    max_degree: int = Field(
        128,
        ge=1,
        description="Superpixels with more neighbours are hubs: no path passes through them.",
    )
    max_partners: int = Field(
        64, ge=1, le=4096, description="Lifted edges that one superpixel has at most."
    )
    linkage_exponents: tuple[Exponent, ...] = Field(
        (0.0, 0.1, 0.3, 0.5, 0.7),
        min_length=1,
        description="Exponents of size of agglomerations by mean P(cut): higher ones join small "
        "clusters first, 0 is average linkage; the features are the P(cut) at which a pair joins.",
    )
    greedy_priors: tuple[Share, ...] = Field(
        (0.3, 0.4, 0.5, 0.6, 0.7),
        min_length=1,
        description="Priors of a cut of greedy multicuts; the feature is the share of them "
        "that keep the pair apart.",
    )
    superpixels_per_cell: int = Field(
        50_000,
        ge=1,
        description="Superpixels from which on the volume is divided into cells, and of a cell "
        "at most, about; each is one task, whose memory grows with it.",
    )
    context_nm: float = Field(
        1500.0,
        ge=0,
        description="How far around its cell a task sees the graph; pairs at a cell's border "
        "and their features depend on it.",
    )
    region_features: tuple[str, ...] = Field(
        ("raw/mean", "raw/std", "raw/q10", "raw/q90", "boundary/mean", "boundary/std"),
        description="Features of superpixels that are compared between a pair, by name.",
    )

    @field_validator("linkage_exponents", "region_features")
    @classmethod
    def _columns_have_names_of_their_own(
        cls, chosen: tuple[float | str, ...]
    ) -> tuple[float | str, ...]:
        names = [one if isinstance(one, str) else exponent_name(one) for one in chosen]
        if len(set(names)) != len(names):
            raise ValueError(f"repeats: {', '.join(names)}")
        return chosen

    def resolved(self, volume: VolumeInfo) -> Self:
        """With forest and distance decided by the volume's anisotropy."""
        flat = volume.flat_sections
        update: dict[str, str | int] = {}
        if self.forest == "auto":
            update["forest"] = "lifted-anisotropic" if flat else "lifted-isotropic"
        if self.max_distance == "auto":
            update["max_distance"] = 3 if flat else 2
        return self.model_copy(update=update)

    @property
    def distance(self) -> int:
        """``max_distance`` as a number; only after ``resolved``."""
        if self.max_distance == "auto":
            raise ConfigError("lifted.max_distance auto must be resolved for the volume first")
        return self.max_distance
