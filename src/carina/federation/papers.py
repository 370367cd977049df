"""What is signed with a permit key, and stands alone: visas, lists of permit states, one-time codes, orders of jobs,
and the countersignatures of nodes. docs/reference/wire-format.md explains each by its purpose.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from carina.errors import InvalidMessage, PermitDenied
from carina.federation import wire
from carina.federation.permitkeys import PermitKey, open_paper
from carina.federation.signing import Jwk, peek
from carina.model.address import web_address
from carina.model.clock import now as present
from carina.model.ids import DatasetIri, HubId, NodeId
from carina.model.job import JobOrder
from carina.model.permit import LIVE, Action, Visa

VISA = "vnd.ga4gh.visa+jwt"
STATUS = "carina-permit-status+jwt"
CODE = "carina-handover+jwt"
ORDER = "carina-job+jwt"
COUNTERSIGNATURE = "carina-countersignature+jwt"

CODE_LIFETIME = timedelta(seconds=60)
LEEWAY = timedelta(seconds=30)
"""That the clocks of two parties may differ; never added to a permit's last day or to the age of a list of states."""

_NAME = re.compile(r"[A-Za-z0-9._~-]*")


def _page(text: str) -> str:
    """An address that may go on with # and a name."""
    address, _, name = text.partition("#")
    web_address(address)
    if not _NAME.fullmatch(name):
        raise ValueError("no name on a page")
    return text


Subject = Annotated[wire.Text, Field(min_length=1)]
Page = Annotated[str, Field(max_length=400), AfterValidator(_page)]
Version = Annotated[str, Field(pattern=r"^(live|[1-9][0-9]{0,8})$")]


class Grant(wire.Record):
    """`ga4gh_visa_v1` (GA4GH Passport 1.2)."""

    type: Literal["ControlledAccessGrants"]
    asserted: wire.Seconds
    value: wire.Iri
    source: Page
    by: Literal["dac"]


class Scope(wire.Record):
    """The claim `carina` of a visa."""

    hub: wire.Hub
    node: wire.Node
    name: wire.Text
    actions: Annotated[tuple[Action, ...], Field(min_length=1, max_length=3)]
    purpose: wire.Prose
    project: wire.Text
    organisation: wire.Text
    version: Version
    conditions: wire.Prose


class VisaClaims(wire.Record):
    """A visa's payload."""

    iss: wire.Url
    sub: Subject
    jti: wire.Id
    aud: wire.Node
    iat: wire.Seconds
    exp: wire.Seconds
    ga4gh_visa_v1: Grant
    carina: Scope


class StatusList(wire.Record):
    """The states of one node's permits that have not expired. Each list has a higher number than the one before."""

    hub: wire.Hub
    node: wire.Node
    number: Annotated[int, Field(ge=1, le=10**15)]
    issued: wire.Seconds
    permits: Annotated[dict[wire.Id, Literal["valid", "ended"]], Field(max_length=20_000)]


class Handover(wire.Record):
    """A one-time code: this person may enter this node under this permit, once, within a minute."""

    hub: wire.Hub
    node: wire.Node
    permit: wire.Id
    dataset: wire.Iri
    subject: Subject
    name: wire.Text
    iat: wire.Seconds
    exp: wire.Seconds
    nonce: wire.Nonce


class Order(wire.Record):
    """A job that a hub asks for."""

    hub: wire.Hub
    node: wire.Node
    job: wire.Id
    run: wire.Id
    permit: wire.Id
    dataset: wire.Iri
    subject: Subject
    analysis: wire.Word
    iat: wire.Seconds
    exp: wire.Seconds


class Countersignature(wire.Record):
    """A node's data manager agrees to a visa: SHA-256 of its text, hex. Signed with the node's own permit key."""

    node: wire.Node
    hub: wire.Hub
    permit: wire.Id
    visa: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    by: Subject
    at: wire.Stamp


_HUB = re.compile(r"h-[a-z2-7]{26}")
P = TypeVar("P", StatusList, Handover, Order)


def make_visa(key: PermitKey, visa: Visa) -> str:
    """The visa as a JWT, signed with the hub's permit key; `jku` says where the hub shows the public one."""
    claims = VisaClaims(
        iss=visa.issuer,
        sub=visa.subject,
        jti=visa.id,
        aud=visa.node,
        iat=_seconds(visa.issued),
        exp=_seconds(visa.expires),
        ga4gh_visa_v1=Grant(
            type="ControlledAccessGrants",
            asserted=_seconds(visa.asserted),
            value=visa.dataset,
            source=visa.source,
            by="dac",
        ),
        carina=Scope(
            hub=visa.hub,
            node=visa.node,
            name=visa.name,
            actions=visa.actions,
            purpose=visa.purpose,
            project=visa.project,
            organisation=visa.organisation,
            version=visa.version,
            conditions=visa.conditions,
        ),
    )
    return key.sign(VISA, wire.write(claims), jku=f"{visa.issuer.rstrip('/')}/.well-known/jwks.json")


def open_visa(text: str, key: Jwk, *, hub: str, node: str) -> Visa:
    """What a visa says, once it is certain that this hub made it for this node. Its times are judged by `check_times`.

    The hub's id and key decide. Its address may have changed since it made the visa; `jku` is never followed.

    Raises `PermitDenied` with its `reason`: forged, wrong-issuer, misaddressed.
    """
    try:
        claims = wire.read(VisaClaims, open_paper(text, VISA, key))
    except InvalidMessage as error:
        raise PermitDenied("The permit was not made by the hub in the form it should have.", reason="forged") from error
    if claims.carina.hub != hub:
        raise PermitDenied("The permit was made by another hub.", reason="wrong-issuer")
    if claims.aud != node or claims.carina.node != node:
        raise PermitDenied("The permit is for another node.", reason="misaddressed")
    return Visa(
        id=claims.jti,
        issuer=claims.iss,
        hub=claims.carina.hub,
        subject=claims.sub,
        name=claims.carina.name,
        dataset=DatasetIri(claims.ga4gh_visa_v1.value),
        node=NodeId(claims.aud),
        source=claims.ga4gh_visa_v1.source,
        asserted=_instant(claims.ga4gh_visa_v1.asserted),
        issued=_instant(claims.iat),
        expires=_instant(claims.exp),
        actions=claims.carina.actions,
        purpose=claims.carina.purpose,
        project=claims.carina.project,
        organisation=claims.carina.organisation,
        version=claims.carina.version or LIVE,
        conditions=claims.carina.conditions,
    )


def check_times(visa: Visa, now: datetime | None = None) -> None:
    """Raise `PermitDenied` (not-yet, expired) unless the permit is in its time. Its end has no leeway."""
    at = now or present()
    if at + LEEWAY < visa.issued:
        raise PermitDenied("The permit begins later.", "Check the clocks of hub and node.", reason="not-yet")
    if at >= visa.expires:
        raise PermitDenied("The permit's last day is over.", "Ask for access again.", reason="expired")


def visa_digest(text: str) -> str:
    """What a countersignature is over: SHA-256 of the visa's text, hex."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def make_status(key: PermitKey, status: StatusList) -> str:
    """The list, signed."""
    return key.sign(STATUS, wire.write(status))


def open_status(text: str, key: Jwk, *, hub: str, node: str) -> StatusList:
    """A list of states that this hub made for this node. Raises `InvalidMessage`: malformed, forged, misaddressed.

    Whether it is new and recent is for the node to say, which knows the number of the one before.
    """
    return _for(wire.read(StatusList, open_paper(text, STATUS, key)), hub, node)


def make_code(
    key: PermitKey,
    *,
    hub: str,
    node: str,
    permit: str,
    dataset: str,
    subject: str,
    name: str,
    now: datetime | None = None,
) -> str:
    """A one-time code, good for `CODE_LIFETIME`."""
    at = now or present()
    handover = Handover(
        hub=hub,
        node=node,
        permit=permit,
        dataset=dataset,
        subject=subject,
        name=name,
        iat=_seconds(at),
        exp=_seconds(at + CODE_LIFETIME),
        nonce=secrets.token_urlsafe(24),
    )
    return key.sign(CODE, wire.write(handover))


def open_code(text: str, key: Jwk, *, hub: str, node: str, now: datetime | None = None) -> Handover:
    """What a code says. That it comes the first time is for the caller to see.

    Raises `InvalidMessage`: malformed, forged, misaddressed, expired.
    """
    code = _for(wire.read(Handover, open_paper(text, CODE, key)), hub, node)
    at, leeway = (now or present()).timestamp(), LEEWAY.total_seconds()
    if not code.iat - leeway <= at <= code.exp + leeway or code.exp - code.iat > CODE_LIFETIME.total_seconds():
        raise InvalidMessage("The code is past its time.", "Open the images from the hub again.", reason="expired")
    return code


def make_order(key: PermitKey, order: JobOrder, *, node: str, expires: datetime, now: datetime | None = None) -> str:
    """An order of a job, signed."""
    paper = Order(
        hub=order.hub,
        node=node,
        job=order.id,
        run=order.run,
        permit=order.permit,
        dataset=order.dataset,
        subject=order.subject,
        analysis=order.analysis,
        iat=_seconds(now or present()),
        exp=_seconds(expires),
    )
    return key.sign(ORDER, wire.write(paper))


def open_order(text: str, key: Jwk, *, hub: str, node: str, now: datetime | None = None) -> JobOrder:
    """What an order asks. That it is done once is for the caller. Raises `InvalidMessage` as `open_code`."""
    paper = _for(wire.read(Order, open_paper(text, ORDER, key)), hub, node)
    at = (now or present()).timestamp()
    if not paper.iat - LEEWAY.total_seconds() <= at < paper.exp:
        raise InvalidMessage("The order is past its time.", reason="expired")
    return JobOrder(
        id=paper.job,
        hub=HubId(paper.hub),
        run=paper.run,
        permit=paper.permit,
        dataset=DatasetIri(paper.dataset),
        subject=paper.subject,
        analysis=paper.analysis,
    )


def claimed_hub(text: str) -> str:
    """The hub that a paper says it is from, before its signature is checked: only to find the key to check it with.

    Raises `InvalidMessage`.
    """
    _, payload = peek(text.encode(errors="replace"))
    hub = payload.get("hub")
    if not isinstance(hub, str) or not _HUB.fullmatch(hub):
        raise InvalidMessage("The paper names no hub.")
    return hub


def make_countersignature(key: PermitKey, paper: Countersignature) -> str:
    """A node's agreement, signed with its own permit key."""
    return key.sign(COUNTERSIGNATURE, wire.write(paper))


def countersigns(text: str, key: Jwk, *, node: str, hub: str, permit: str, visa: str) -> bool:
    """Whether this is the node's own agreement to exactly this visa's text."""
    try:
        paper = wire.read(Countersignature, open_paper(text, COUNTERSIGNATURE, key))
    except InvalidMessage:
        return False
    return (paper.node, paper.hub, paper.permit, paper.visa) == (node, hub, permit, visa_digest(visa))


def _for(paper: P, hub: str, node: str) -> P:
    if (paper.hub, paper.node) != (hub, node):
        raise InvalidMessage("The paper is for another node, or from another hub.", reason="misaddressed")
    return paper


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
