"""Keys and certificates by what may be shown of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.support import make_node

from carina.model.clock import now
from carina.model.keys import check_value, key_names
from carina.node import keylist
from carina.node.overview import overview
from carina.node.part import Around
from carina.node.site import Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    node.audit.append("account-added", "operator", "nora")
    yield node
    node.engine.dispose()


def certificate(path: Path, days: float, begins: float = -400) -> Path:
    """A certificate that ends in so many days."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pacs")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now() + timedelta(days=begins))
    signed = made.not_valid_after(now() + timedelta(days=days, minutes=1)).sign(key, SHA256())
    path.write_bytes(signed.public_bytes(Encoding.PEM))
    return path


def test_the_node_s_own_keys_are_named_and_none_is_shown(node: Node) -> None:
    lines = keylist.listed(node)
    assert [line.fingerprint for line in lines] == [
        node.signing.thumbprint,
        node.permit_key.thumbprint,
        check_value(node.keys.pseudonym),
        check_value(node.keys.storage),
    ]
    assert all(line.since and line.expires is None and line.state == "good" for line in lines)
    told = str(lines)
    for name in key_names():
        secret = getattr(node.keys, name)
        assert secret.hex() not in told and base64.b64encode(secret).decode() not in told


def test_a_key_that_was_replaced_says_since_when(node: Node) -> None:
    node.audit.append("node-key-changed", "operator", node.id)
    signing, permits, *_ = keylist.listed(node)
    assert signing.since == node.audit.entries(1)[0].at != permits.since


@pytest.mark.parametrize(
    ("days", "begins", "state", "note"),
    [
        (90, -1, "good", ""),
        (12, -1, "warn", "It ends soon."),
        (-1, -9, "bad", "It is over."),
        (90, 5, "bad", "It begins later."),
    ],
)
def test_a_certificate_says_when_it_ends(
    node: Node, tmp_path: Path, days: int, begins: int, state: str, note: str
) -> None:
    line = keylist.listed(node, [("TLS", certificate(tmp_path / "node.pem", days, begins))])[-1]
    assert (line.what, line.of, line.days, line.state, line.note) == ("TLS", "pacs", days, state, note)


def test_a_file_that_is_no_certificate_is_told_and_not_passed_over(node: Node, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    found = keylist.listed(node, [("A", tmp_path / "none.pem"), ("B", wrong)])[-2:]
    assert [line.note.partition(".")[0] for line in found] == [
        "Its file cannot be read",
        "It cannot be read as a certificate",
    ]
    assert {line.state for line in found} == {"bad"}


def test_the_overview_says_which_certificate_ends_first(node: Node, tmp_path: Path) -> None:
    room = (10**12, 0, 10**12)
    fine = Around(certificates=(("TLS", certificate(tmp_path / "a.pem", 200)),), disk=lambda _: room)
    soon = Around(certificates=(("TLS", certificate(tmp_path / "b.pem", 9)),), disk=lambda _: room)
    assert overview(node, soon).sentence == "Attention: TLS: it ends in 9 days."
    [keys] = [part for part in overview(node, fine).parts if part.link == "/system#keys"]
    assert keys.sentence == "5 keys and certificates; the first of them ends in 200 days."
