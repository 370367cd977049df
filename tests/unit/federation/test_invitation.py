import base64
from datetime import UTC, datetime

import pytest

from carina.errors import InvalidInvitation
from carina.federation.invitation import PREFIX, Invitation, fingerprint, parse_invitation, prove, proves
from carina.federation.signing import SigningKey, party_id

KEY = SigningKey.from_seed(b"h" * 32)
INVITATION = Invitation(
    hub=party_id(KEY.public_jwk, "h"),
    key=KEY.thumbprint,
    url="https://hub.example.org",
    broker_ca="ab" * 32,
    secret=bytes(range(32)),
    expires=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
)


def test_an_invitation_survives_its_text_even_when_a_mail_breaks_the_line() -> None:
    text = INVITATION.text()
    assert parse_invitation(text) == INVITATION
    assert parse_invitation(f"  {text[:90]}\n {text[90:]}\r\n") == INVITATION


@pytest.mark.parametrize("position", [0, 40, 150, -1])
def test_a_damaged_text_is_told_from_a_good_one(position: int) -> None:
    encoded = list(INVITATION.text().removeprefix(PREFIX))
    encoded[position] = "A" if encoded[position] != "A" else "B"
    with pytest.raises(InvalidInvitation, match="damaged"):
        parse_invitation(PREFIX + "".join(encoded))


@pytest.mark.parametrize("text", ["", "hello", PREFIX, PREFIX + "AAAA", PREFIX + "é", INVITATION.text()[:-9]])
def test_what_is_no_invitation_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvalidInvitation):
        parse_invitation(text)


def test_neither_its_id_nor_a_proof_gives_the_secret_away() -> None:
    shown = INVITATION.id + prove(INVITATION.proof_key, "node", "text") + repr(INVITATION)
    assert INVITATION.secret.hex() not in shown
    assert INVITATION.proof_key.hex() not in shown


def test_a_proof_is_good_for_its_text_side_and_secret_only() -> None:
    proof = prove(INVITATION.proof_key, "node", "text")
    assert proves(INVITATION.proof_key, "node", "text", proof)
    assert not proves(INVITATION.proof_key, "hub", "text", proof)
    assert not proves(INVITATION.proof_key, "node", "texts", proof)
    assert not proves(bytes(32), "node", "text", proof)


def test_two_certificates_have_no_fingerprint() -> None:
    body = base64.b64encode(b"not checked here").decode()
    pem = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    assert len(fingerprint(pem)) == 64
    with pytest.raises(InvalidInvitation):
        fingerprint(pem + pem)
