"""What a federated search gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from carina.model.ids import NodeId

AnswerState = Literal["counted", "below-threshold", "unknown-terms", "refused", "silent"]


@dataclass(frozen=True)
class Counts:
    """Distinct patients and their studies that match, as a node gives them out.

    Both are None when `patients` is below `threshold`, zero included.
    """

    patients: int | None
    studies: int | None
    threshold: int


@dataclass(frozen=True)
class NodeAnswer:
    """One node's part of a search; a node that does not answer in time is `silent`."""

    node: NodeId
    title: str
    country: str
    state: AnswerState
    counts: Counts | None = None
    unknown: tuple[str, ...] = ()
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Total:
    """The sum over the nodes that gave numbers, and how many others there are of each kind."""

    patients: int
    studies: int
    counted: int
    below_threshold: int
    unknown: int
    refused: int
    silent: int


def total(answers: list[NodeAnswer]) -> Total:
    """Add up what was shown; nothing hidden enters the sum."""
    shown = [answer.counts for answer in answers if answer.state == "counted" and answer.counts is not None]
    states = [answer.state for answer in answers]
    return Total(
        patients=sum(counts.patients or 0 for counts in shown),
        studies=sum(counts.studies or 0 for counts in shown),
        counted=len(shown),
        below_threshold=states.count("below-threshold"),
        unknown=states.count("unknown-terms"),
        refused=states.count("refused"),
        silent=states.count("silent"),
    )
