"""Results of jobs at the hub: whose they are, what they say, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import RowMapping

from carina.compute import moments
from carina.compute.groups import GROUPS
from carina.errors import Conflict, InvalidMessage
from carina.federation import wire
from carina.federation.disclosure import at_least
from carina.federation.signing import peek, verify
from carina.hub.centre import Hub
from carina.hub.nodes import key_of
from carina.model.job import ANALYSES, Moments

LARGEST = Decimal("1e100")
"""No mean or M2 is as large; doubles hold the pooled ones of any number of nodes."""
SMALLEST = Decimal("1e-100")
"""None but zero is as small. Between the two, sums in fractions stay short."""
MOST_GROUPS = 20


@dataclass(frozen=True)
class Pooled:
    """A group over all that released it.

    released  names of the nodes; with the dataset's where a node has several of the run's
    withheld  those that are done and did not release it: of no patient, of fewer than their threshold, or of so many
              that others could be worked out
    """

    moments: Moments
    released: tuple[str, ...]
    withheld: tuple[str, ...]


@dataclass(frozen=True)
class Released:
    """What a node's result says. `version`: of the dataset; `threshold`: below which groups were withheld."""

    groups: tuple[Moments, ...]
    threshold: int
    version: str


def require_genuine(hub: Hub, node: str, text: str, job: RowMapping) -> None:
    """Raise unless the node signed this result of exactly this job.

    job   its row, with the run's `analysis` and the permit's `version`

    Raises `InvalidMessage` (forged, malformed), `Conflict` when it is of something else.
    """
    key = key_of(hub, node)
    if key is None:
        raise InvalidMessage("The result's sender is not known here.", reason="unknown-sender")
    said = wire.read(wire.Result, verify(text.encode(), key))
    expected = {"hub": hub.id, "node": node, "job": job["id"]}
    expected |= {name: job[name] for name in ("permit", "dataset", "analysis", "version")}
    expected["analysis_version"] = ANALYSES[job["analysis"]].version
    if any(getattr(said, name) != value for name, value in expected.items()):
        raise Conflict("The result is not of this job.", "Update the node and the hub to the same version.")
    _require_possible(said)


def _require_possible(said: wire.Result) -> None:
    names = [group.group for group in said.groups]
    if len(names) > MOST_GROUPS or len(set(names)) < len(names) or not GROUPS[said.analysis].issuperset(names):
        raise InvalidMessage("The result has groups that the analysis does not make.")
    if not all(_possible(Decimal(number)) for group in said.groups for number in (group.mean, group.m2)):
        raise InvalidMessage("The result has impossible numbers.")
    if any(Decimal(group.m2) < 0 for group in said.groups):
        raise InvalidMessage("The result has a spread below zero.")


def _possible(number: Decimal) -> bool:
    return len(number.as_tuple().digits) <= moments.DIGITS and (not number or SMALLEST <= abs(number) < LARGEST)


def read_result(hub: Hub, text: str) -> Released:
    """What a result says that was genuine when it came; the hub's own threshold counts too, where that is higher."""
    said = wire.read(wire.Result, peek(text.encode())[1])
    groups = (moments.read(group.group, group.n, group.mean, group.m2) for group in said.groups)
    threshold = max(said.threshold, hub.threshold)
    return Released(at_least(groups, threshold), threshold, said.version)


def pool(released: Sequence[tuple[str, tuple[Moments, ...]]]) -> tuple[Pooled, ...]:
    """Each group over those that released it, by name of the group. `released`: who is done, and what they gave."""
    made = []
    for name in sorted({group.group for _, groups in released for group in groups}):
        parts = [(label, group) for label, groups in released for group in groups if group.group == name]
        labels = tuple(label for label, _ in parts)
        others = tuple(label for label, groups in released if all(group.group != name for group in groups))
        made.append(Pooled(moments.pool([group for _, group in parts]), labels, others))
    return tuple(made)
