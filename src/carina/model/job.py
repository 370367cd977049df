"""A run: one analysis over the datasets of several permits, one job for each; and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from carina.model.ids import DatasetIri, HubId

JobState = Literal["waiting", "taken", "running", "done", "refused", "failed", "cancelled"]
"""`waiting`: the node has not fetched it; `taken`: it has; `refused` by the node's own judgement; `failed` there."""

ENDED: frozenset[JobState] = frozenset({"done", "refused", "failed", "cancelled"})

Failure = Literal["crashed", "out-of-memory", "out-of-time", "unknown-analysis", "interrupted"]
"""Why a job failed: a constant word; what a program printed stays at the node."""


@dataclass(frozen=True)
class Moments:
    """A group's number of values, their mean, and M2: the sum of squared differences from it (unit squared).

    Mean and M2 have 34 digits (decimal128, IEEE 754-2008), so that pooling them loses nothing that shows.
    """

    group: str
    n: int
    mean: Decimal
    m2: Decimal


@dataclass(frozen=True)
class JobOrder:
    """What a hub asks of a node, under which permit."""

    id: str
    hub: HubId
    run: str
    permit: str
    dataset: DatasetIri
    subject: str
    analysis: str


@dataclass(frozen=True)
class Analysis:
    """An analysis that every node has. `value`: what the number of each patient is; `unit` of it."""

    name: str
    version: str
    title: str
    about: str
    value: str
    group: str
    unit: str


SIGNAL_STATISTICS = Analysis(
    name="signal-statistics",
    version="1",
    title="Signal statistics",
    about="The signal-to-noise ratio of the images, one value per patient, as number, mean and spread per modality.",
    value="Signal-to-noise ratio",
    group="modality",
    unit="1",
)
ANALYSES = {SIGNAL_STATISTICS.name: SIGNAL_STATISTICS}
