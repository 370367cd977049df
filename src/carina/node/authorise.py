"""Whether an access is allowed: the one function before every door, by web, DICOMweb, DIMSE, token and job.

The node's own staff see its archive. A service, which is a token or a DICOM peer with rights of its own, does what it
was given to do, with what it is bound to: published datasets, or the whole archive. A hub's researcher needs a permit
of that hub for that dataset, which is judged anew each time: the visa's signature and times, the hub's newest list of
states, the word of this node's data manager, and what this node allows at all. Whatever cannot be known is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from carina.errors import NotFound, PermitDenied
from carina.federation.papers import check_times
from carina.model.clock import now as present
from carina.model.clock import stamp
from carina.model.cohort import Query
from carina.model.ids import DatasetIri, ProjectId
from carina.model.permit import LIVE, Action, Denial, Visa
from carina.model.principal import EVERYTHING, Principal, Service
from carina.node import datasets, membership, permits
from carina.node.membership import JoinedHub
from carina.node.site import Node
from carina.storage import accounts
from carina.storage.members import Members
from carina.storage.schema import permit_use, visits
from carina.storage.schema import permits as table

SENTENCES: dict[Denial, tuple[str, str]] = {
    "not-signed-in": ("Nobody this node knows asks.", "Open the images from the hub."),
    "no-permit": ("You have no permit for this at this node.", "Ask for access to the dataset at the hub."),
    "wrong-issuer": (
        "The permit is of another hub than it says.",
        "Ask the node's data manager to join the hub again.",
    ),
    "misaddressed": ("The permit is for another node.", "Open the images of this node from the hub."),
    "forged": (
        "The permit does not hold: it was not made by the hub, or was changed.",
        "Tell the node's data manager.",
    ),
    "foreign-subject": ("The permit is another person's.", "Open the images from the hub with your own account."),
    "used-code": ("This way in was used before.", "Open the images from the hub again; each way in is good once."),
    "not-yet": ("The permit begins later.", "Check the clocks of hub and node."),
    "expired": ("The permit's time is over.", "Ask for access again at the hub."),
    "revoked": ("The permit was ended.", "The hub's page of the permit says who ended it and why."),
    "status-unknown": (
        "Nothing is given out now: permit status unknown.",
        "The node has not heard from the hub for a minute; try again when they are connected.",
    ),
    "declined": ("The node's data manager does not agree to this permit.", "The hub's page of the permit says why."),
    "not-countersigned": (
        "The node's data manager has not agreed to this permit yet.",
        "Wait, or ask the data holder.",
    ),
    "action-not-granted": ("The permit is for something else.", "Ask for this action in a new request at the hub."),
    "action-not-allowed": ("This node does not allow this to anybody.", "Ask the data holder what is possible."),
    "dataset-not-published": ("The dataset is not published at this node.", "Ask the data holder whether it returns."),
    "version-unknown": ("The node does not have this version of the dataset.", "Ask the data holder for another one."),
    "not-a-member": ("This is not in the dataset that the permit is for.", "Stay within the dataset's own studies."),
}
"""What people read for each reason, and what to do; in the order in which a permit is judged."""

_OF_SERVICES: dict[Denial, tuple[str, str]] = {
    "not-signed-in": ("The token is good no more.", "Ask the node's data manager for another one."),
    "no-permit": (
        "This token or DICOM peer is not bound to that.",
        "Ask the node's data manager; a token of several datasets is used at each one's own address.",
    ),
    "action-not-granted": ("This token or DICOM peer may not do that.", "Ask the node's data manager for it."),
}
"""The same for services, which have no permit."""

LINGER = timedelta(minutes=10)
"""How long a visit lasts after the first access that is refused for good."""
_FINAL = frozenset({"expired", "revoked", "declined"})
_FURTHEST = tuple(SENTENCES)
_IRI = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Grant:
    """What may be touched. Of staff and services: all of the archive, or of one dataset, without a permit.

    permit   its id, and `hub` whose; empty for staff and services
    version  `live`, or the number of the snapshot that it is for
    query    what the dataset holds; None: the whole archive
    expires  when the permit ends at the latest; None for staff and services
    service  who it is, of a program or DICOM peer with rights of its own: what it is given is a release; else empty
    study    the only one that it covers; empty: all
    """

    permit: str
    hub: str
    dataset: DatasetIri | None
    project: ProjectId | None
    version: str
    query: Query | None
    expires: datetime | None
    staff: bool
    service: str = ""
    study: str = ""


def authorise(
    node: Node,
    who: Principal,
    dataset: str | None,
    action: Action,
    *,
    door: str,
    count: bool = True,
    now: datetime | None = None,
) -> Grant:
    """What `who` may touch of `dataset` (None: of the whole archive) with `action`, or `PermitDenied` with its reason.

    door    constant word for the audit trail: web, dicom-web, dimse, job, …
    count   whether this is a use of the permit; False for a look whether it still holds

    Each refusal is audited, repeats once a minute. After one that is final, the permit's visits are over soon.
    A look at an access under way asks again whether the token is in force; at the beginning, who looked it up did.
    """
    try:
        if not count:
            _require_token(node, who)
        grant = judge(node, who, dataset, action, now=now)
    except PermitDenied as refused:
        _refused(node, who, dataset, refused, asked=action, door=door, now=now or present())
        if refused.reason in _FINAL and who.permit:
            _end_visits(node, who, now or present())
        raise
    if count and grant.permit:
        _count(node, grant, action, now)
    return grant


def check(
    node: Node, who: Principal, dataset: str | None, action: Action, *, door: str, now: datetime | None = None
) -> Grant:
    """`authorise` for an access that has begun: whether it may go on; not counted as a use."""
    return authorise(node, who, dataset, action, door=door, count=False, now=now)


def members(grant: Grant) -> Members | None:
    """The objects that may be touched; None: all of the archive, for the node's own staff and some services only."""
    if grant.project is None:
        if not grant.staff and not grant.service:
            raise denied("no-permit")
        return None
    if grant.version == LIVE:
        return Members(grant.project, query=grant.query, study=grant.study)
    return Members(grant.project, dataset=grant.dataset, number=int(grant.version), study=grant.study)


def denied(reason: Denial) -> PermitDenied:
    """The refusal for this reason, in the words that people read."""
    return PermitDenied(*SENTENCES[reason], reason=reason)


def judge(node: Node, who: Principal, dataset: str | None, action: Action, *, now: datetime | None = None) -> Grant:
    """As `authorise`, without a trace: neither audited nor counted. For what audits itself."""
    if who.issuer == node.id:
        if who.service is not None:
            return _of_service(node, who, who.service, dataset, action)
        return _staff(node, who, dataset)
    hub = _hub_of(node, who)
    if dataset is None:
        raise denied("no-permit")
    refused = denied("no-permit")
    for row in _held(node, hub, who, dataset):
        try:
            return _judge(node, hub, row, who, action, now=now or present())
        except PermitDenied as error:
            refused = max(refused, error, key=_progress)
    raise refused


def _progress(refused: PermitDenied) -> int:
    """How far a permit came: of several, the one that came furthest says what is missing."""
    return _FURTHEST.index(cast(Denial, refused.reason))


def _staff(node: Node, who: Principal, dataset: str | None) -> Grant:
    if "data-manager" not in who.roles:
        raise denied("no-permit")
    if dataset is None:
        return Grant("", "", None, None, LIVE, None, None, staff=True)
    found = datasets.get(node, dataset)
    return Grant("", "", found.iri, found.project, LIVE, found.query, None, staff=True)


def _of_service(node: Node, who: Principal, service: Service, dataset: str | None, action: Action) -> Grant:
    """What a token or DICOM peer was given by this node's own operator.

    A dataset counts while it is published, and for what it and the node allow researchers. The whole archive has no
    such conditions: whoever binds a service to it has said so in plain words.
    """
    all_of_it = EVERYTHING in service.datasets
    if "service" not in who.roles:
        raise _denied_service("no-permit")
    if dataset is None and not all_of_it and len(service.datasets) == 1:
        [dataset] = service.datasets
    if not all_of_it and dataset not in service.datasets:
        raise _denied_service("no-permit")
    if action not in service.actions:
        raise _denied_service("action-not-granted")
    if dataset is None:
        return Grant("", "", None, None, LIVE, None, None, staff=False, service=who.subject)
    try:
        found = datasets.get(node, dataset)
    except NotFound:
        raise denied("dataset-not-published") from None
    if action not in node.policy.actions or (found.actions is not None and action not in found.actions):
        raise denied("action-not-allowed")
    if found.state != "published":
        raise denied("dataset-not-published")
    return Grant("", "", found.iri, found.project, LIVE, found.query, None, staff=False, service=who.subject)


def _denied_service(reason: Denial) -> PermitDenied:
    return PermitDenied(*_OF_SERVICES[reason], reason=reason)


def _require_token(node: Node, who: Principal) -> None:
    """Refuse a token of this node that has ended since it was looked up."""
    if (
        who.issuer == node.id
        and who.subject.startswith(accounts.HOLDER)
        and accounts.has_ended(node.engine, who.subject)
    ):
        raise _denied_service("not-signed-in")


def _hub_of(node: Node, who: Principal) -> JoinedHub:
    try:
        hub = membership.get_hub(node, who.issuer)
    except NotFound:
        raise denied("not-signed-in") from None
    if hub.state != "joined":
        raise denied("wrong-issuer")
    return hub


def _held(node: Node, hub: JoinedHub, who: Principal, dataset: str) -> Sequence[RowMapping]:
    """The permits that say they are for this person and dataset, newest first; or only the one entered under."""
    named = (table.c.hub == hub.id) & (table.c.subject == who.subject) & (table.c.dataset == dataset)
    if who.permit:
        named &= table.c.id == who.permit
    newest = select(table).where(named).order_by(table.c.received_at.desc(), table.c.id.desc())
    with node.engine.connect() as connection:
        return connection.execute(newest).mappings().all()


def _judge(node: Node, hub: JoinedHub, row: RowMapping, who: Principal, action: Action, *, now: datetime) -> Grant:
    """One permit, in the order of `SENTENCES`."""
    visa = _visa(node, hub, row, who, now)
    _require_status(node, hub, visa, now)
    if row["state"] in ("declined", "withdrawn"):
        raise denied("declined")
    if node.policy.countersign and not permits.agreed(node, row):
        raise denied("not-countersigned")
    if action not in visa.actions:
        raise denied("action-not-granted")
    found = _dataset(node, visa, action)
    end = visa.issued + timedelta(days=datasets.longest_days(node, found) + 1)
    if now >= end:
        raise denied("expired")
    return Grant(
        visa.id, hub.id, found.iri, found.project, visa.version, found.query, min(end, visa.expires), staff=False
    )


def _visa(node: Node, hub: JoinedHub, row: RowMapping, who: Principal, now: datetime) -> Visa:
    """The visa, genuine, in its time, of this person and dataset."""
    try:
        visa = permits.open_held(node, hub, row)
        if visa.subject != who.subject:
            raise denied("foreign-subject")
        if visa.dataset != row["dataset"]:
            raise denied("forged")
        check_times(visa, now)
    except PermitDenied as refused:
        raise denied(cast(Denial, refused.reason)) from refused
    return visa


def _require_status(node: Node, hub: JoinedHub, visa: Visa, now: datetime) -> None:
    with node.engine.connect() as connection:
        word = permits.hub_word(connection, hub.id, visa.id)
    if word is not None and word.state != "valid":
        raise denied("revoked")
    if word is None or not word.recent(now):
        raise denied("status-unknown")


def _dataset(node: Node, visa: Visa, action: Action) -> datasets.Dataset:
    """The visa's dataset, published, in a version that is there, with an action that this node allows."""
    try:
        found = datasets.get(node, visa.dataset)
    except NotFound:
        raise denied("dataset-not-published") from None
    if action not in datasets.allowed(node, found):
        raise denied("action-not-allowed")
    if found.state != "published":
        raise denied("dataset-not-published")
    if visa.version != LIVE and int(visa.version) not in datasets.versions(node, found.iri):
        raise denied("version-unknown")
    return found


def _refused(
    node: Node,
    who: Principal,
    dataset: str | None,
    refused: PermitDenied,
    *,
    asked: str,
    door: str,
    now: datetime,
) -> None:
    """Audit a refusal. What is no dataset's name came from outside, and is not written down."""
    subject = dataset if dataset is not None and _IRI.fullmatch(dataset) else ""
    node.refusals.note(
        node.audit,
        "access-refused",
        who.subject[:200],
        subject,
        now=now,
        reason=refused.reason,
        permit=who.permit,
        hub="" if who.issuer == node.id else who.issuer[:40],
        asked=asked,
        door=door,
    )


def _end_visits(node: Node, who: Principal, now: datetime) -> None:
    """Let the visits under a permit that is over last `LINGER` more, in which open pages can still say why."""
    last = stamp(now + LINGER)
    longer = (visits.c.hub == who.issuer) & (visits.c.permit == who.permit) & (visits.c.expires_at > last)
    with node.engine.connect() as connection:
        if connection.execute(select(visits.c.permit).where(longer).limit(1)).first() is None:
            return
    with node.engine.begin() as connection:
        connection.execute(update(visits).where(longer).values(expires_at=last))


def _count(node: Node, grant: Grant, action: Action, now: datetime | None) -> None:
    """One more use of a permit."""
    key = {"hub": grant.hub, "permit": grant.permit, "action": action}
    mine = (permit_use.c.hub == grant.hub) & (permit_use.c.permit == grant.permit) & (permit_use.c.action == action)
    more = update(permit_use).where(mine).values(times=permit_use.c.times + 1, last_at=stamp(now))
    with node.engine.begin() as connection:
        if connection.execute(more).rowcount:
            return
        try:
            with connection.begin_nested():
                connection.execute(insert(permit_use), {**key, "times": 1, "last_at": stamp(now)})
        except IntegrityError:  # another process was first, where writers do not wait for each other
            connection.execute(more)
