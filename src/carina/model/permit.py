"""A permit: what one person may do with one dataset, until when. And the request that leads to it.

A request asks for datasets; each is an item of its own, which the committee of the node that holds the dataset decides.
An approval makes one permit, whose proof is a visa (`federation.visas`). The node that holds the dataset judges every
access by itself (`node.authorise`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, get_args

from carina.errors import BadInput
from carina.model.ids import DatasetIri, NodeId

Action = Literal["view", "retrieve", "analyse"]
"""Look at pictures that the node renders; fetch DICOM objects; run analyses that give sums only."""

ACTIONS: tuple[Action, ...] = get_args(Action)
LIVE = "live"
"""The version of a dataset that is whatever it holds at the time; else the number of a snapshot, as "3"."""

LONGEST_DAYS = 3650

ItemState = Literal["waiting", "asked", "granted", "refused", "withdrawn"]
"""`waiting` for the committee; `asked`: the committee waits for an answer of the researcher; the rest are final."""
Turn = Literal["committee", "researcher", "data-manager", "nobody"]

PermitState = Literal["granted", "revoked"]
NodeState = Literal["unknown", "waiting", "in-force", "declined", "withdrawn"]
"""What the node says of a permit. `unknown`: not heard yet; `waiting` for its data manager; `in-force`: countersigned,
or the node trusts its hub; `declined` or, later, `withdrawn` by its data manager."""

Denial = Literal[
    "not-signed-in",  # nobody the node knows asks
    "no-permit",  # this person has none for this dataset
    "forged",  # the visa's signature, algorithm or form does not hold
    "wrong-issuer",  # another hub's, or another address than the hub's
    "misaddressed",  # for another node
    "foreign-subject",  # another person's
    "not-yet",  # it begins later
    "expired",  # its last day is over
    "revoked",  # ended before its time, says the hub
    "status-unknown",  # no list of permit states younger than 60 s
    "not-countersigned",  # the node's data manager has not signed
    "declined",  # nor will, or has taken the signature back
    "action-not-granted",  # the permit is for something else
    "action-not-allowed",  # this node allows it to nobody
    "dataset-not-published",  # withdrawn at the node, or never published
    "version-unknown",  # a snapshot that the node does not have
    "not-a-member",  # the object is none of the dataset's
    "used-code",  # a one-time code that came before
]
"""Why access is refused: the constant word of `PermitDenied`, of the audit trail and of messages."""


@dataclass(frozen=True)
class Terms:
    """What a node allows at all with a dataset; its hub shows it and takes no request beyond it.

    longest_days   a permit lasts at most so many days from the day it is granted
    versions       numbers of the dataset's snapshots, oldest first
    countersign    whether the node's data manager signs too
    """

    actions: tuple[Action, ...] = ACTIONS
    longest_days: int = 365
    versions: tuple[int, ...] = ()
    countersign: bool = True


@dataclass(frozen=True)
class Visa:
    """What a visa says (GA4GH Passport 1.2, ControlledAccessGrants), as claims.

    id         `jti`, the permit's id
    issuer     `iss`, the hub's address; `hub`: its id
    subject    `sub`, the account at the hub
    dataset    `ga4gh_visa_v1.value`
    source     `ga4gh_visa_v1.source`, the address of the node's page at the hub; `by` is "dac"
    asserted   when the committee decided; `issued` (`iat`) and `expires` (`exp`): instants, UTC, whole seconds
    version    `live` or a snapshot's number
    conditions what the committee adds in words; for people to read
    """

    id: str
    issuer: str
    hub: str
    subject: str
    name: str
    dataset: DatasetIri
    node: NodeId
    source: str
    asserted: datetime
    issued: datetime
    expires: datetime
    actions: tuple[Action, ...]
    purpose: str
    project: str
    organisation: str
    version: str = LIVE
    conditions: str = ""


def actions(texts: object) -> tuple[Action, ...]:
    """Actions by their words, in the order of `ACTIONS`. Raises `BadInput` for none or an unknown one."""
    given = list(texts) if isinstance(texts, list | tuple | set | frozenset) else []
    if not given or any(text not in ACTIONS for text in given):
        raise BadInput("An action is missing or unknown.", f"Choose among {', '.join(ACTIONS)}.")
    return tuple(action for action in ACTIONS if action in given)


def end_day(text: str) -> date:
    """`2027-03-01` as a day, or `BadInput`."""
    try:
        return date.fromisoformat(text.strip()) if len(text.strip()) == 10 else _no_day()
    except ValueError:
        return _no_day()


def _no_day() -> date:
    raise BadInput("The end date is no date.", "Write it as 2027-03-01.")


def end_of(day: date) -> datetime:
    """The instant at which a permit with the last day `day` ends: the next day, 00:00 UTC.

    >>> end_of(date(2027, 3, 1)).isoformat()
    '2027-03-02T00:00:00+00:00'
    """
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
