"""Pseudonyms, shifts and persons: the same in, the same out, and nothing to be read from them."""

from __future__ import annotations

import re
import uuid

import pytest

from carina.deid.person import Person, merged, person
from carina.deid.profile import MODIFIED_DATES, load_profile
from carina.deid.pseudonyms import (
    ProjectKeys,
    accession_number,
    device_key,
    new_uid,
    patient_key,
    shift_date,
    shift_date_time,
    shift_days,
    source_digest,
)
from carina.errors import BadSettings
from carina.model.ids import ProjectId, uid

KEYS = ProjectKeys.of(b"k" * 32, ProjectId("lung"))
OTHER = ProjectKeys.of(b"k" * 32, ProjectId("breast"))
MARIA = Person("HUS", "0007")


def test_pseudonyms_never_change_for_the_same_key() -> None:
    # These values are a promise: images of ten years' time must meet those of today.
    assert patient_key(KEYS, MARIA) == "PVOADDOCQ5K3UPOMK"
    assert new_uid(KEYS, "1.2.3") == "2.25.108573618793386736427890946974645569621"
    assert shift_days(KEYS, MARIA) == -773
    assert accession_number(KEYS, "A1") == "AAW22C6JNL36JKY4"
    assert device_key(KEYS, "SIEMENS", "4711", "CT1") == "DEBP4M4KVP2YW5G5L"


def test_a_patient_key_fits_a_person_name_and_an_identifier() -> None:
    assert re.fullmatch(r"P[A-Z2-7]{16}", patient_key(KEYS, MARIA))


def test_a_new_uid_is_a_uuid_in_the_form_of_the_standard() -> None:
    found = new_uid(KEYS, "1.2.840.113619.2.55")
    number = uuid.UUID(int=int(uid(found).removeprefix("2.25.")))
    assert (number.version, number.variant) == (8, uuid.RFC_4122)
    assert new_uid(KEYS, "1.2.840.113619.2.55\0") == found


def test_parts_of_an_identity_do_not_run_together() -> None:
    assert patient_key(KEYS, Person("A", "BC")) != patient_key(KEYS, Person("AB", "C"))
    assert device_key(KEYS, "A", "BC") != device_key(KEYS, "AB", "C")


def test_another_project_has_other_keys_for_each_purpose() -> None:
    assert len({getattr(keys, name) for keys in (KEYS, OTHER) for name in KEYS.__dataclass_fields__}) == 12
    assert source_digest(KEYS, b"x") != source_digest(OTHER, b"x")


def test_shifts_are_thirty_to_1825_days_back() -> None:
    days = {shift_days(KEYS, Person("HUS", str(number))) for number in range(3000)}
    assert max(days) <= -30
    assert min(days) >= -1825
    assert len(days) > 1000


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("20240311", "20240211"),
        ("2024.03.11", "20240211"),
        ("20240301 ", "20240201"),
        ("20230230", None),
        ("202403", None),
        ("11.03.2024", None),
        ("00010101", None),
        ("", None),
        ("２０２４０３１１", None),
    ],
)
def test_a_date_moves_by_whole_days_or_is_none(text: str, moved: str | None) -> None:
    assert shift_date(text, -29) == moved


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("20240311", "20240211"),
        ("20240311101500.123456+0100", "20240211101500.123456+0100"),
        ("2024031110", "2024021110"),
        ("20240311-0500", "20240211-0500"),
        ("202403", "202402"),
        ("2024", "2024"),
        ("20240311250000", None),
        ("yesterday", None),
        ("20240311 Garcia", None),
    ],
)
def test_a_date_and_time_moves_its_date_only(text: str, moved: str | None) -> None:
    assert shift_date_time(text, -29) == moved


def test_identifiers_are_read_by_the_sites_rule() -> None:
    assert person("", " 0007 ", "HUS") == MARIA
    assert person("HUS", "7", "X", strip_leading_zeros=True) == person("HUS", "0007", "X", strip_leading_zeros=True)
    assert person("HUS", "000", strip_leading_zeros=True) == Person("HUS", "0")
    assert person("HUS", " \0") is None
    assert person("HUS", "Mu\u0308ller") == person("HUS", "M\u00fcller")


def test_merges_are_followed_to_their_end_and_a_loop_ends() -> None:
    a, b, c = Person("H", "a"), Person("H", "b"), Person("H", "c")
    assert merged(a, {a: b, b: c}) == c
    assert merged(a, {a: b, b: a}) in (a, b)
    assert merged(a, {}) == a


def test_the_profile_is_known_by_its_content_and_not_by_its_name() -> None:
    basic = load_profile("basic")
    assert basic.options == (MODIFIED_DATES,)
    same = load_profile(f'name = "ours"\noptions = ["{MODIFIED_DATES}"]')
    assert same.digest == basic.digest
    assert load_profile('name = "strict"').digest != basic.digest


@pytest.mark.parametrize(
    "text", ["basics", "name = ", 'name = "a"\noptions = ["keep_all"]', 'options = []\nname = "x"\nextra = 1']
)
def test_a_profile_that_is_not_offered_is_refused(text: str) -> None:
    with pytest.raises(BadSettings):
        load_profile(text)
