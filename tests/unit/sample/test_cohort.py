"""Who is in the sample, before any image is made."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable

import pytest

from carina.errors import BadInput, NotFound
from carina.model.ids import project_id
from carina.sample.cohort import (
    CSV_COLUMNS,
    SamplePatient,
    SampleStudy,
    clinical_csv,
    patients,
    planted,
    studies,
)
from carina.sample.draws import Draws, uid
from carina.sample.exams import KINDS
from carina.sample.sites import SITES, Site, site

CLEANED = {"CT", "MR", "PT"}


def _with(people: list[SamplePatient], wanted: Callable[[SamplePatient, SampleStudy, str, str], bool]) -> int:
    """How many persons have at least one CT, MR or PET series as `wanted`."""
    return sum(
        any(
            wanted(person, study, series.modality, series.body_part)
            for study in studies(person)
            for series in study.kind.series
            if series.modality in CLEANED
        )
        for person in people
    )


@pytest.mark.parametrize("seed", [1, 2, 77])
@pytest.mark.parametrize("where", SITES, ids=lambda each: each.key)
def test_every_site_has_enough_patients_for_each_of_the_three_searches(where: Site, seed: int) -> None:
    people = patients(where, seed)
    assert _with(people, lambda _p, _s, modality, part: modality == "CT" and part == "CHEST") >= 12
    assert _with(people, lambda _p, _s, modality, _b: modality == "MR") >= 11
    assert _with(people, lambda person, _s, _m, _b: person.sex == "F") >= 11
    lung = lambda person, study, _m, _b: person.topography.startswith("C34") and 50 <= study.age <= 80  # noqa: E731
    assert _with(people, lung) >= 11


@pytest.mark.parametrize("where", SITES, ids=lambda each: each.key)
def test_a_site_has_about_500_instances_and_2_to_12_in_each_study(where: Site) -> None:
    every = [study for person in patients(where) for study in studies(person)]
    assert 480 <= sum(study.instances for study in every) <= 560
    assert all(2 <= study.instances <= 12 for study in every)


def test_the_three_sites_together_stay_below_1900_instances() -> None:
    total = sum(study.instances for where in SITES for person in patients(where) for study in studies(person))
    assert total <= 1900


@pytest.mark.parametrize("where", SITES, ids=lambda each: each.key)
def test_ages_reach_from_30_to_beyond_89(where: Site) -> None:
    ages = [study.age for person in patients(where) for study in studies(person)]
    assert min(ages) <= 36
    assert max(ages) <= 95
    over = {person.number for person in patients(where) for study in studies(person) if study.age > 89}
    assert len(over) == 2


@pytest.mark.parametrize("where", SITES, ids=lambda each: each.key)
def test_a_part_of_the_patients_come_back_with_a_larger_or_smaller_lesion(where: Site) -> None:
    lesions = [[study.lesion for study in studies(person) if study.exam.months] for person in patients(where)]
    followed = [values[0] for values in lesions if values]
    assert 8 <= len(followed) <= 20
    assert min(followed) < 1 < max(followed)


@pytest.mark.parametrize("where", SITES, ids=lambda each: each.key)
def test_no_two_patients_share_a_name_or_an_identifier(where: Site) -> None:
    people = patients(where)
    assert len({person.name for person in people}) == len(people)
    assert len({person.patient_id for person in patients(where, count=3000)}) == 3000


@pytest.mark.parametrize("where", SITES, ids=lambda each: each.key)
def test_several_makers_send_images(where: Site) -> None:
    makers = {study.scanner.manufacturer.split()[0] for person in patients(where) for study in studies(person)}
    assert len(makers) >= 4


def test_a_longer_cohort_begins_with_the_shorter_one() -> None:
    assert patients(SITES[0], 5, 40)[:7] == patients(SITES[0], 5, 7)


def test_another_seed_gives_other_persons() -> None:
    first, second = patients(SITES[1], 1), patients(SITES[1], 2)
    assert not {person.patient_id for person in first} & {person.patient_id for person in second}


def test_every_study_falls_after_its_diagnosis_and_on_a_working_day() -> None:
    for person in patients(SITES[2]):
        for study in studies(person):
            assert study.day > person.diagnosis_date
            assert study.day.weekday() < 5


def test_the_clinical_table_has_one_row_for_each_person_in_the_agreed_columns() -> None:
    people = patients(SITES[0])
    rows = list(csv.DictReader(io.StringIO(clinical_csv(people))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["patient_id"] for row in rows] == [person.patient_id for person in people]
    treatments = {"surgery", "chemotherapy", "radiotherapy", "immunotherapy", "hormone", "targeted", "none"}
    for row, person in zip(rows, people, strict=True):
        assert row["birth_date"] == person.birth_date.isoformat()
        assert row["issuer"] == "HUSC"
        assert row["sex"] in {"F", "M", "O"}
        assert re.fullmatch(r"C\d\d\.\d", row["topography"])
        assert re.fullmatch(r"\d{4}/\d", row["morphology"])
        assert set(row["treatment"].split(";")) <= treatments
        assert row["vital_status"] in {"alive", "dead", "unknown"}


def test_national_identifiers_fail_the_check_of_their_country() -> None:
    spanish, dutch, australian = ([person.national_id for person in patients(where, count=200)] for where in SITES)
    for text in spanish:
        assert "TRWAGMYFPDXBNJZSQVHLCKE"[int(text[:8]) % 23] != text[-1]
    for text in dutch:
        digits = [int(character) for character in text if character.isdigit()]
        assert sum(w * d for w, d in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), digits, strict=True)) % 11
    for text in australian:
        digits = [int(character) for character in text if character.isdigit()]
        assert sum(w * d for w, d in zip((1, 3, 7, 9, 1, 3, 7, 9), digits[:8], strict=True)) % 10 != digits[8]


def test_planted_texts_are_long_and_hold_each_persons_name_and_identifiers() -> None:
    people = patients(SITES[2], count=5)
    texts = planted(people)
    assert len(texts) == len(set(texts))
    assert all(len(text) >= 7 for text in texts)
    assert SITES[2].name not in texts
    for person in people:
        assert {person.name, person.spoken, person.patient_id, person.national_id, person.phone} <= set(texts)


def test_sites_are_found_by_name_and_have_names_a_project_may_have() -> None:
    assert site("merriwa").country_code == "AU"
    for each in SITES:
        assert project_id(each.project) == each.project
        assert len(each.ae_title) <= 16
    with pytest.raises(NotFound, match="No sample site"):
        site("atlantis")


@pytest.mark.parametrize("count", [0, 5001])
def test_a_cohort_of_no_or_too_many_patients_is_refused(count: int) -> None:
    with pytest.raises(BadInput):
        patients(SITES[0], 1, count)


def test_each_site_has_a_machine_for_every_kind_of_study_it_makes() -> None:
    for where in SITES:
        made = {study.exam.kind for person in patients(where) for study in studies(person)}
        assert made <= set(KINDS)
        assert {"ct-chest", "pet-ct-chest", "mr-brain", "mg"} <= made


def test_uids_are_version_4_uuids_under_their_arc() -> None:
    value = uid("a", 1)
    assert value == uid("a", 1) != uid("a", 2)
    number = int(value.removeprefix("2.25."))
    assert number >> 76 & 0xF == 4
    assert number >> 62 & 3 == 2


def test_draws_stay_within_their_bounds() -> None:
    draws = Draws("bounds")
    numbers = [draws.number(3, 5) for _ in range(100)]
    assert set(numbers) == {3, 4, 5}
    reals = [draws.real(-1, 1) for _ in range(100)]
    assert -1 <= min(reals) < -0.5 < 0.5 < max(reals) < 1
