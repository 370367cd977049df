"""Anything that may be on the wire, as hypothesis strategies: every kind of body, and every text that stands alone."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from carina.federation import papers, wire
from carina.federation.brokerkeys import broker_name, broker_seed
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey, party_id
from carina.model import cohort
from carina.model.permit import ACTIONS

KEY = SigningKey.from_seed(bytes(range(32)))
PERMIT_KEY = PermitKey.from_master(bytes(range(32)))
HUB, NODE = party_id(KEY.public_jwk, "h"), party_id(KEY.public_jwk, "n")
STAMP = "2026-01-02T03:04:05.678901Z"
URL = "https://hub.example.org/x"
SIGNED = "eyJhIjoxfQ.eyJiIjoyfQ.c2ln"

ANY_TEXTS = st.text(st.characters(exclude_categories=[]), max_size=20)
"""With half letters, which JSON can write and UTF-8 cannot."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXTS, inner, max_size=3),
    max_leaves=8,
)
LETTERS = st.characters(
    exclude_categories=["Cs", "Cc", "Zl", "Zp"],
    exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
)
"""What a line of text may have: no control character, and none that changes the order of others."""
TEXTS = st.text(LETTERS, max_size=60)
SUBJECTS = st.text(LETTERS, min_size=1, max_size=60)
IRIS = st.uuids().map(lambda value: f"urn:uuid:{value}")
IDS = st.text("0123456789abcdefghijklmnopqrstuv", min_size=26, max_size=26)
WORDS = st.from_regex(r"[a-z][a-z-]{0,39}", fullmatch=True)
NONCES = st.text("abcXYZ019_-", min_size=22, max_size=64)
THUMBPRINTS = st.text("abcXYZ019_-", min_size=43, max_size=43)
NUMBERS = st.none() | st.integers(10, 10**12)
SECONDS = st.integers(0, 253_402_300_799)
VERSIONS = st.just("live") | st.integers(1, 10**9 - 1).map(str)
SOME_ACTIONS = st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3, unique=True).map(tuple)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12).map(str)
PAPERS = st.just(SIGNED) | IDS.map(lambda value: PERMIT_KEY.sign(papers.ORDER, {"job": value}))
JWK = wire.read(wire.Jwk, KEY.public_jwk)

terms = st.builds(cohort.OneOf, TEXTS, st.lists(TEXTS, max_size=4).map(tuple)) | st.builds(
    cohort.Between, TEXTS, st.none() | st.integers(-(10**9), 10**9), st.none() | st.integers(0, 90)
)
queries = st.recursive(
    terms,
    lambda parts: (
        st.lists(parts, max_size=3)
        .map(tuple)
        .flatmap(lambda some: st.sampled_from([cohort.All(some), cohort.AnyOf(some)]))
    ),
    max_leaves=6,
)
groups = st.lists(st.builds(wire.Group, value=TEXTS, patients=NUMBERS), max_size=4).map(tuple)
uses = st.builds(
    wire.Use,
    view=st.integers(0, 10**12),
    retrieve=st.integers(0, 10**12),
    analyse=st.integers(0, 10**12),
    last=st.none() | st.just(STAMP),
)


def some(values: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, max_size=most).map(tuple)


asked = {
    wire.Hello: st.builds(
        wire.Hello,
        title=TEXTS,
        institution=TEXTS,
        country=st.just("NL"),
        public_url=st.none() | st.just(URL),
        knows=THUMBPRINTS,
        datasets=st.dictionaries(IRIS, THUMBPRINTS, max_size=3),
    ),
    wire.Search: queries.map(lambda query: wire.Search(query=cohort.to_json(query))),
    wire.Description: st.builds(
        wire.Description,
        iri=IRIS,
        node=st.just(NODE),
        project=st.just("lung"),
        title=TEXTS,
        description=TEXTS,
        institution=TEXTS,
        country=st.just("AU"),
        threshold=st.integers(1, 10),
        patients=st.integers(10, 10**6),
        studies=NUMBERS,
        series=NUMBERS,
        instances=NUMBERS,
        groups=st.dictionaries(st.sampled_from(["modality", "body_part", "age"]), groups),
        digest=THUMBPRINTS,
        computed=st.just(STAMP),
        terms=st.builds(
            wire.Terms,
            actions=st.just(()) | SOME_ACTIONS,
            longest_days=st.integers(1, 3650),
            versions=some(st.integers(1, 10**9)),
            countersign=st.booleans(),
        ),
    ),
    wire.Withdraw: st.builds(wire.Withdraw, iri=IRIS),
    wire.KeyChange: st.builds(
        wire.KeyChange,
        key=st.just(JWK),
        nkey=st.binary(min_size=32, max_size=32).map(lambda seed: broker_name(broker_seed(seed))),
        proof=st.just(SIGNED),
    ),
    wire.Bye: st.just(wire.Bye()),
    wire.Status: st.builds(wire.Status, paper=PAPERS),
    wire.Ring: st.just(wire.Ring()),
    wire.Permits: st.builds(
        wire.Permits,
        held=st.dictionaries(
            IDS,
            st.builds(
                wire.Held,
                state=st.sampled_from(["waiting", "in-force", "declined", "withdrawn"]),
                reason=TEXTS,
                use=uses,
            ),
            max_size=3,
        ),
        wanted=some(IDS),
    ),
    wire.Jobs: st.builds(
        wire.Jobs,
        progress=st.dictionaries(
            IDS,
            st.builds(wire.Progress, state=st.sampled_from(["taken", "running"]), percent=st.integers(0, 100)),
            max_size=3,
        ),
    ),
    wire.Outcome: st.builds(wire.Outcome, job=IDS, state=st.just("done"), reason=st.just(""), result=PAPERS)
    | st.builds(
        wire.Outcome,
        job=IDS,
        state=st.sampled_from(["refused", "failed", "cancelled"]),
        reason=WORDS,
        result=st.none(),
    ),
}
answered = {
    wire.Found: st.builds(
        wire.Found,
        state=st.just("counted"),
        patients=st.integers(10, 10**12),
        studies=st.integers(0, 10**12),
        threshold=st.integers(1, 10),
    )
    | st.builds(
        wire.Found,
        state=st.just("unknown-terms"),
        patients=st.none(),
        studies=st.none(),
        threshold=st.integers(1, 10_000),
        unknown=st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
    ),
    wire.Welcome: st.builds(
        wire.Welcome, title=TEXTS, url=st.just(URL), chain=some(st.just(SIGNED)), wanted=some(IRIS)
    ),
    wire.Visas: st.builds(wire.Visas, visas=some(PAPERS)),
    wire.Open: st.builds(wire.Open, orders=some(PAPERS), stop=some(IDS)),
    wire.Done: st.just(wire.Done()),
    wire.Refusal: st.builds(wire.Refusal, reason=WORDS),
}

with_message_key = {
    wire.Result: st.builds(
        wire.Result,
        hub=st.just(HUB),
        node=st.just(NODE),
        job=IDS,
        permit=IDS,
        dataset=IRIS,
        version=VERSIONS,
        analysis=WORDS,
        analysis_version=st.just("1.2"),
        threshold=st.integers(1, 10),
        groups=some(st.builds(wire.Moments, group=TEXTS, n=st.integers(10, 10**9), mean=DECIMALS, m2=DECIMALS)),
        at=st.just(STAMP),
    ),
    wire.Possession: st.builds(wire.Possession, hub=st.just(HUB), node=st.just(NODE), old=THUMBPRINTS, new=THUMBPRINTS),
    wire.NextKey: st.builds(
        wire.NextKey,
        hub=st.just(HUB),
        number=st.integers(1, 100),
        old=THUMBPRINTS,
        key=st.just(JWK),
        proof=st.just(SIGNED),
    ),
    wire.HubPossession: st.builds(
        wire.HubPossession, hub=st.just(HUB), number=st.integers(1, 100), old=THUMBPRINTS, new=THUMBPRINTS
    ),
    wire.JoinFacts: st.builds(
        wire.JoinFacts,
        hub=st.just(HUB),
        hub_key=THUMBPRINTS,
        node=st.just(NODE),
        key=st.just(JWK),
        nkey=st.just(broker_name(broker_seed(b"n" * 32))),
        expires=st.just(STAMP),
        title=TEXTS,
        institution=TEXTS,
        country=st.just("NL"),
        public_url=st.none() | st.just(URL),
    ),
    wire.JoinReply: st.builds(
        wire.JoinReply,
        hub=st.just(HUB),
        key=st.just(JWK),
        node=st.just(NODE),
        node_key=THUMBPRINTS,
        nkey=st.just(broker_name(broker_seed(b"n" * 32))),
        expires=st.just(STAMP),
        request=st.text("0123456789abcdef", min_size=64, max_size=64),
        title=TEXTS,
        broker=st.just("hub.example.org:8701"),
        broker_ca=TEXTS,
        permit_key=st.just(wire.read(wire.PermitJwk, PERMIT_KEY.public_jwk)),
    ),
}
"""Signed with the key of messages, by shape."""

visas = st.builds(
    papers.VisaClaims,
    iss=st.just(URL),
    sub=SUBJECTS,
    jti=IDS,
    aud=st.just(NODE),
    iat=SECONDS,
    exp=SECONDS,
    ga4gh_visa_v1=st.builds(
        papers.Grant,
        type=st.just("ControlledAccessGrants"),
        asserted=SECONDS,
        value=IRIS,
        source=st.just(URL),
        by=st.just("dac"),
    ),
    carina=st.builds(
        papers.Scope,
        hub=st.just(HUB),
        node=st.just(NODE),
        name=TEXTS,
        actions=SOME_ACTIONS,
        purpose=TEXTS,
        project=TEXTS,
        organisation=TEXTS,
        version=VERSIONS,
        conditions=TEXTS,
    ),
)
with_permit_key = {
    papers.VISA: visas,
    papers.STATUS: st.builds(
        papers.StatusList,
        hub=st.just(HUB),
        node=st.just(NODE),
        number=st.integers(1, 10**15),
        issued=SECONDS,
        permits=st.dictionaries(IDS, st.sampled_from(["valid", "ended"]), max_size=4),
    ),
    papers.CODE: st.builds(
        papers.Handover,
        hub=st.just(HUB),
        node=st.just(NODE),
        permit=IDS,
        dataset=IRIS,
        subject=SUBJECTS,
        name=TEXTS,
        iat=SECONDS,
        exp=SECONDS,
        nonce=NONCES,
    ),
    papers.ORDER: st.builds(
        papers.Order,
        hub=st.just(HUB),
        node=st.just(NODE),
        job=IDS,
        run=IDS,
        permit=IDS,
        dataset=IRIS,
        subject=SUBJECTS,
        analysis=WORDS,
        iat=SECONDS,
        exp=SECONDS,
    ),
    papers.COUNTERSIGNATURE: st.builds(
        papers.Countersignature,
        node=st.just(NODE),
        hub=st.just(HUB),
        permit=IDS,
        visa=st.text("0123456789abcdef", min_size=64, max_size=64),
        by=SUBJECTS,
        at=st.just(STAMP),
    ),
}
"""Signed with a permit key, by type."""
