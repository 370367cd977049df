"""A dataset as the world may know it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from carina.model.ids import DatasetIri, NodeId, ProjectId
from carina.model.permit import Terms

DatasetState = Literal["draft", "published", "withdrawn"]


@dataclass(frozen=True)
class Group:
    """How many patients have this value; None: fewer than the threshold, or hidden so that none can be worked out."""

    value: str
    patients: int | None


@dataclass(frozen=True)
class DatasetDescription:
    """What a node tells its hub of a published dataset: sums only, small groups hidden.

    patients, studies, series, instances   None when fewer than `threshold` patients
    groups      by variable name (`model.variables`), plus `age` in bands of ten years ("40-49")
    digest      of the membership it was computed from and of the terms; changes when those do
    computed    UTC, ISO 8601
    terms       what the node allows with it
    """

    iri: DatasetIri
    node: NodeId
    project: ProjectId
    title: str
    description: str
    institution: str
    country: str
    threshold: int
    patients: int | None
    studies: int | None
    series: int | None
    instances: int | None
    groups: dict[str, tuple[Group, ...]]
    digest: str
    computed: str
    terms: Terms = field(default_factory=Terms)
