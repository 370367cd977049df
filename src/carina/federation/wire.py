"""The wire format: every message between a hub and a node, and the two texts of joining. All of it is in this file.

A message is a JWS (`federation.signing`) whose payload is an `Envelope`. Bodies are strict: an unknown member, another
type or a text that is too long makes a message malformed. docs/reference/wire-format.md explains each by its purpose.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from carina.errors import InvalidMessage
from carina.federation.brokerkeys import is_broker_name
from carina.model.address import LONGEST, web_address
from carina.model.clock import parse_stamp
from carina.model.permit import Action
from carina.model.texts import is_line, is_prose

Kind = Literal[
    "hello",
    "search",
    "description",
    "withdraw",
    "key-change",
    "bye",
    "status",
    "ring",
    "permits",
    "jobs",
    "outcome",
    "answer",
    "error",
]


def _nkey(text: str) -> str:
    if not is_broker_name(text):
        raise ValueError("no public nkey of a user")
    return text


def _instant(text: str) -> str:
    parse_stamp(text)
    return text


def _line(text: str) -> str:
    if not is_line(text):
        raise ValueError("no plain line")
    return text


def _prose(text: str) -> str:
    if not is_prose(text):
        raise ValueError("no plain text")
    return text


Text = Annotated[str, Field(max_length=200), AfterValidator(_line)]
Prose = Annotated[str, Field(max_length=10_000), AfterValidator(_prose)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,39}$")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Url = Annotated[str, Field(max_length=LONGEST), AfterValidator(web_address)]
Hub = Annotated[str, Field(pattern=r"^h-[a-z2-7]{26}$")]
Node = Annotated[str, Field(pattern=r"^n-[a-z2-7]{26}$")]
Party = Annotated[str, Field(pattern=r"^[hn]-[a-z2-7]{26}$")]
Thumbprint = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
Nkey = Annotated[str, AfterValidator(_nkey)]
Nonce = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22,64}$")]
Iri = Annotated[str, Field(pattern=r"^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Digest = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
Stamp = Annotated[
    str, Field(pattern=r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}\.[0-9]{6}Z$"), AfterValidator(_instant)
]
Seconds = Annotated[int, Field(ge=0, lt=253_402_300_800)]  # before the year 10000
Number = Annotated[int, Field(ge=0, le=10**12)]
Id = Annotated[str, Field(pattern=r"^[0-9a-v]{26}$")]
Decimal128 = Annotated[str, Field(max_length=48, pattern=r"^-?[0-9]{1,34}(\.[0-9]{1,34})?(E[+-]?[0-9]{1,4})?$")]
Signed = Annotated[str, Field(max_length=8_000, pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]


Paper = Annotated[str, Field(max_length=60_000, pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
"""Signed with a permit key (`federation.papers`)."""
LongPaper = Annotated[str, Field(max_length=900_000, pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]

T = TypeVar("T", bound="Record")


class Record(BaseModel):
    """Anything on the wire."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Jwk(Record):
    """A public Ed25519 key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]


class PermitJwk(Record):
    """A public P-256 key (RFC 7518 section 6.2), which signs permits."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    y: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]


class Envelope(Record):
    """Around every body. `iat` and `exp` are seconds since 1970 UTC; `re` is the nonce that an answer answers."""

    v: Literal[1]
    hub: Hub
    iss: Party
    aud: Party
    iat: Seconds
    exp: Seconds
    nonce: Nonce
    kind: Kind
    re: Nonce | None = None
    body: dict[str, Any]


class Body(Record):
    """What a message says. `kind` is the envelope's."""

    kind: ClassVar[Kind]


# --- a node to its hub --------------------------------------------------------------------------------------------


class Hello(Body):
    """I am here. `knows`: the hub key I know; `datasets`: digest of each published dataset. Answer: `Welcome`."""

    kind: ClassVar[Kind] = "hello"
    title: Text
    institution: Text
    country: Country
    public_url: Url | None
    knows: Thumbprint
    datasets: Annotated[dict[Iri, Digest], Field(max_length=1_000)]


class Group(Record):
    """A value and how many patients have it; None where hidden."""

    value: Text
    patients: Number | None


class Terms(Record):
    """What the node allows with a dataset (`model.permit.Terms`)."""

    actions: Annotated[tuple[Action, ...], Field(max_length=3)]
    longest_days: Annotated[int, Field(ge=1, le=3650)]
    versions: Annotated[tuple[Annotated[int, Field(ge=1, le=10**9)], ...], Field(max_length=1_000)]
    countersign: bool


class Description(Body):
    """A published dataset, sums only (`model.dataset.DatasetDescription`). Answer: `Done`."""

    kind: ClassVar[Kind] = "description"
    iri: Iri
    node: Node
    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    title: Text
    description: Prose
    institution: Text
    country: Country
    threshold: Annotated[int, Field(ge=1, le=10_000)]
    patients: Number | None
    studies: Number | None
    series: Number | None
    instances: Number | None
    groups: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,39}$")], Annotated[tuple[Group, ...], Field(max_length=500)]
        ],
        Field(max_length=50),
    ]
    digest: Digest
    computed: Stamp
    terms: Terms

    @model_validator(mode="after")
    def _nothing_small(self) -> Description:
        """No count below the node's own threshold may ever be on the wire."""
        if self.patients is None and (self.studies, self.series, self.instances) != (None, None, None):
            raise ValueError("sums of a hidden group")
        shown = [self.patients, *(group.patients for groups in self.groups.values() for group in groups)]
        if any(count is not None and count < self.threshold for count in shown):
            raise ValueError("a count below the threshold")
        return self


class Withdraw(Body):
    """This dataset is no longer published. Answer: `Done`."""

    kind: ClassVar[Kind] = "withdraw"
    iri: Iri


class KeyChange(Body):
    """My next key, under my present key's signature; `proof` is a `Possession` signed with the next. Answer: `Done`."""

    kind: ClassVar[Kind] = "key-change"
    key: Jwk
    nkey: Nkey
    proof: Signed


class Use(Record):
    """How often a permit was used at the node, by action, and when last."""

    view: Number = 0
    retrieve: Number = 0
    analyse: Number = 0
    last: Stamp | None = None


class Held(Record):
    """What the node says of a permit. `reason`: a sentence of its data manager, or empty."""

    state: Literal["waiting", "in-force", "declined", "withdrawn"]
    reason: Text
    use: Use


class Permits(Body):
    """The permits that the node holds, and those it has heard of and wants. Answer: `Visas`."""

    kind: ClassVar[Kind] = "permits"
    held: Annotated[dict[Id, Held], Field(max_length=2_000)]
    wanted: Annotated[tuple[Id, ...], Field(max_length=2_000)]


class Progress(Record):
    """How far a job is: it waits at the node, or runs; `percent` of its values are computed."""

    state: Literal["taken", "running"]
    percent: Annotated[int, Field(ge=0, le=100)]


class Jobs(Body):
    """What is there for me? And how far are those that I have begun? Answer: `Open`."""

    kind: ClassVar[Kind] = "jobs"
    progress: Annotated[dict[Id, Progress], Field(max_length=1_000)]


class Moments(Record):
    """A group's number of values, mean and M2 (`model.job.Moments`)."""

    group: Text
    n: Annotated[int, Field(ge=1, le=10**9)]
    mean: Decimal128
    m2: Decimal128


class Result(Record):
    """Signed with the node's key: what a job gave. Groups below the threshold are not in it, nor named."""

    says: Literal["result"] = "result"
    hub: Hub
    node: Node
    job: Id
    permit: Id
    dataset: Iri
    version: Annotated[str, Field(pattern=r"^(live|[1-9][0-9]{0,8})$")]
    analysis: Word
    analysis_version: Annotated[str, Field(max_length=20, pattern=r"^[0-9A-Za-z.]+$")]
    threshold: Annotated[int, Field(ge=1, le=10_000)]
    groups: Annotated[tuple[Moments, ...], Field(max_length=100)]
    at: Stamp

    @model_validator(mode="after")
    def _nothing_small(self) -> Result:
        """No group below the node's own threshold may ever be on the wire."""
        if any(group.n < self.threshold for group in self.groups):
            raise ValueError("a group below the threshold")
        return self


class Outcome(Body):
    """A job has ended, so: `done` with its `Result`, or for a constant word. Answer: `Done`, also the second time."""

    kind: ClassVar[Kind] = "outcome"
    job: Id
    state: Literal["done", "refused", "failed", "cancelled"]
    reason: Annotated[str, Field(pattern=r"^([a-z][a-z-]{0,39})?$")]
    result: Paper | None

    @model_validator(mode="after")
    def _fits_its_state(self) -> Outcome:
        if (self.state == "done") != (self.result is not None) or (self.state == "done") == bool(self.reason):
            raise ValueError("a result or reason that does not fit the state")
        return self


class Bye(Body):
    """A node leaves, or a hub has removed it. Answer: `Done`."""

    kind: ClassVar[Kind] = "bye"


# --- a hub to its nodes -------------------------------------------------------------------------------------------


class Search(Body):
    """How many patients and studies match? `query` as `model.cohort.to_json` writes it. Answer: `Found`."""

    kind: ClassVar[Kind] = "search"
    query: dict[str, Any]


class Status(Body):
    """The states of your permits now (`federation.papers.StatusList`). Answer: `Done`."""

    kind: ClassVar[Kind] = "status"
    paper: LongPaper


class Ring(Body):
    """Something rests here for you: ask for jobs and permits. Answer: `Done`."""

    kind: ClassVar[Kind] = "ring"


# --- answers ------------------------------------------------------------------------------------------------------


class Found(Body):
    """Answer to `Search`. Numbers only when `counted`; `unknown` names terms without meaning at the node."""

    kind: ClassVar[Kind] = "answer"
    of: Literal["search"] = "search"
    state: Literal["counted", "below-threshold", "unknown-terms"]
    patients: Number | None
    studies: Number | None
    threshold: Annotated[int, Field(ge=1, le=10_000)]
    unknown: Annotated[tuple[Text, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _fits_its_state(self) -> Found:
        if (self.state == "unknown-terms") != bool(self.unknown):
            raise ValueError("unknown terms without names, or names without the state")
        if (self.patients is None) != (self.studies is None) or (self.state == "counted") != (
            self.patients is not None
        ):
            raise ValueError("numbers that do not fit the state")
        if self.patients is not None and self.patients < self.threshold:
            raise ValueError("a count below the threshold")
        return self


class Welcome(Body):
    """Answer to `Hello`. `chain`: the hub's key changes (each a `NextKey`); `wanted`: datasets to describe anew.

    `url` is the hub's address for people now, which its permits name as their issuer.
    """

    kind: ClassVar[Kind] = "answer"
    of: Literal["hello"] = "hello"
    title: Text
    url: Url
    chain: Annotated[tuple[Signed, ...], Field(max_length=100)] = ()
    wanted: Annotated[tuple[Iri, ...], Field(max_length=1_000)] = ()


class Visas(Body):
    """Answer to `Permits`: those visas that were wanted, or the first of them; ask again for the rest."""

    kind: ClassVar[Kind] = "answer"
    of: Literal["permits"] = "permits"
    visas: Annotated[tuple[Paper, ...], Field(max_length=50)]


class Open(Body):
    """Answer to `Jobs`: orders of jobs that have not ended, and jobs of the node's that it is to stop."""

    kind: ClassVar[Kind] = "answer"
    of: Literal["jobs"] = "jobs"
    orders: Annotated[tuple[Paper, ...], Field(max_length=200)]
    stop: Annotated[tuple[Id, ...], Field(max_length=1_000)]


class Done(Body):
    """Answer to all that asks for nothing but to be taken in."""

    kind: ClassVar[Kind] = "answer"
    of: Literal["done"] = "done"


class Refusal(Body):
    """The message was genuine but is refused, for this constant word."""

    kind: ClassVar[Kind] = "error"
    reason: Word


# --- signed texts that stand alone --------------------------------------------------------------------------------


class Possession(Record):
    """Signed with a node's next key: it is mine, for this hub, after that key."""

    says: Literal["next-node-key"] = "next-node-key"
    hub: Hub
    node: Node
    old: Thumbprint
    new: Thumbprint


class NextKey(Record):
    """Signed with a hub's present key: the next one. `proof` is a `HubPossession` signed with the next."""

    says: Literal["next-hub-key"] = "next-hub-key"
    hub: Hub
    number: Annotated[int, Field(ge=1, le=100)]
    old: Thumbprint
    key: Jwk
    proof: Signed


class HubPossession(Record):
    """Signed with a hub's next key: it is mine, after that key."""

    says: Literal["hub-key-possession"] = "hub-key-possession"
    hub: Hub
    number: Annotated[int, Field(ge=1, le=100)]
    old: Thumbprint
    new: Thumbprint


class JoinFacts(Record):
    """Signed with the node's key: who wants to join, over both keys, nkey, ids and the invitation's expiry."""

    says: Literal["join"] = "join"
    hub: Hub
    hub_key: Thumbprint
    node: Node
    key: Jwk
    nkey: Nkey
    expires: Stamp
    title: Text
    institution: Text
    country: Country
    public_url: Url | None


class JoinReply(Record):
    """Signed with the hub's key: welcome, over the same facts (`request`: SHA-256 of the request, hex)."""

    says: Literal["joined"] = "joined"
    hub: Hub
    key: Jwk
    node: Node
    node_key: Thumbprint
    nkey: Nkey
    expires: Stamp
    request: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    title: Text
    broker: Annotated[str, Field(max_length=300, pattern=r"^[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}$")]
    broker_ca: Annotated[str, Field(max_length=10_000)]
    permit_key: PermitJwk


class Proven(Record):
    """What travels when joining: a signed text and the HMAC over it that the invitation's secret gives."""

    v: Literal[1] = 1
    invitation: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    signed: Signed
    proof: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


_BODIES: dict[str, type[Body]] = {
    "hello": Hello,
    "search": Search,
    "description": Description,
    "withdraw": Withdraw,
    "key-change": KeyChange,
    "bye": Bye,
    "status": Status,
    "ring": Ring,
    "permits": Permits,
    "jobs": Jobs,
    "outcome": Outcome,
    "error": Refusal,
}
_ANSWERS: dict[str, type[Body]] = {"search": Found, "hello": Welcome, "permits": Visas, "jobs": Open, "done": Done}


def read(shape: type[T], value: object) -> T:
    """`value`, as JSON gives it, in this shape. Raises `InvalidMessage` (malformed), quoting nothing of it."""
    try:
        return shape.model_validate_json(json.dumps(value))
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise InvalidMessage("The message does not have the shape that its kind needs.") from error


def write(record: Record) -> dict[str, Any]:
    """The record as JSON has it."""
    written: dict[str, Any] = record.model_dump(mode="json")
    return written


def read_body(kind: Kind, body: dict[str, Any]) -> Body:
    """The body of a message of this kind. Raises `InvalidMessage` (malformed)."""
    shape = _ANSWERS.get(str(body.get("of"))) if kind == "answer" else _BODIES.get(kind)
    if shape is None:
        raise InvalidMessage("The message is of no kind that Carina knows.")
    return read(shape, body)
