from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete
from tests.stored import BREAST, LUNG, SECOND, clean, diagnose, index, records

from carina.errors import InvalidQuery
from carina.model.cohort import All, AnyOf, Between, OneOf
from carina.storage.cohort import count, groups, membership_digest
from carina.storage.schema import clinical

EVERYONE = All(())
BOTH = [LUNG, BREAST]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """A: CT chest at 45 and MR brain at 52, F. B: CT brain at 90, M, and without images C."""
    with records(tmp_path) as engine, engine.begin() as connection:
        ours = {"manufacturer": "SIEMENS"}
        index(connection, clean(1, patient="A", sex="F", age_years=45), body_part="CHEST", **ours)
        index(connection, clean(2, patient="A", sex="F", age_years=45), body_part="CHEST", **ours)
        index(connection, clean(1, study=2, patient="A", modality="MR", age_years=52), body_part="BRAIN")
        index(connection, clean(1, study=3, patient="B", sex="M", age_years=90), body_part="BRAIN", **ours)
        diagnose(connection, "A", "C34.1")
        diagnose(connection, "A", "C71.9", number=2)
        diagnose(connection, "C", "C34.1", sex="F")
        yield connection


def test_everyone_with_images_is_counted_and_nobody_else(connection: Connection) -> None:
    assert count(connection, [LUNG], EVERYONE) == (2, 3)
    assert count(connection, [LUNG], OneOf("diagnosis", ("C34",))) == (1, 2)


def test_terms_meet_in_one_series(connection: Connection) -> None:
    ct, brain = OneOf("modality", ("CT",)), OneOf("body_part", ("BRAIN",))
    assert count(connection, [LUNG], All((ct, brain))) == (1, 1)
    assert count(connection, [LUNG], AnyOf((ct, brain))) == (2, 3)


def test_an_age_is_that_of_the_study_and_both_ends_count(connection: Connection) -> None:
    assert count(connection, [LUNG], Between("age", 45, 52)) == (1, 2)
    assert count(connection, [LUNG], Between("age", 46, None)) == (2, 2)
    assert count(connection, [LUNG], Between("age", None, 45)) == (1, 1)
    assert count(connection, [LUNG], Between("age", None, None)) == (2, 3)


def test_a_study_without_an_age_has_none_that_fits(connection: Connection) -> None:
    index(connection, clean(1, study=4, patient="D"))
    assert count(connection, [LUNG], Between("age", None, None)) == (2, 3)
    assert count(connection, [LUNG], EVERYONE) == (3, 4)


def test_what_the_clinical_table_says_of_the_sex_wins(connection: Connection) -> None:
    assert count(connection, [LUNG], OneOf("sex", ("F",))) == (1, 2)
    diagnose(connection, "A", "C50.1", sex="M", number=3)
    assert count(connection, [LUNG], OneOf("sex", ("F",))) == (0, 0)
    assert count(connection, [LUNG], OneOf("sex", ("M",))) == (2, 3)


def test_nothing_asked_for_matches_nobody(connection: Connection) -> None:
    for query in (AnyOf(()), OneOf("modality", ()), OneOf("diagnosis", ()), All((EVERYONE, AnyOf(())))):
        assert count(connection, [LUNG], query) == (0, 0)
    assert count(connection, [], EVERYONE) == (0, 0)


def test_persons_of_two_projects_are_two(connection: Connection) -> None:
    index(connection, clean(1, patient="A", project=BREAST))
    assert count(connection, BOTH, EVERYONE) == (3, 4)
    assert count(connection, [BREAST], OneOf("diagnosis", ("C34",))) == (0, 0)


@pytest.mark.parametrize("query", [OneOf("pirads", ("5",)), OneOf("modality", ("XYZ",)), Between("sex", 1, 2)])
def test_what_has_no_meaning_here_is_refused_not_dropped(connection: Connection, query: OneOf | Between) -> None:
    for asked in (query, All((EVERYONE, AnyOf((query,))))):
        with pytest.raises(InvalidQuery):
            count(connection, [LUNG], asked)
        with pytest.raises(InvalidQuery):
            groups(connection, [LUNG], asked)


def test_groups_count_distinct_patients(connection: Connection) -> None:
    sums = groups(connection, [LUNG], EVERYONE)
    assert (sums.patients, sums.studies, sums.series, sums.instances) == (2, 3, 3, 4)
    assert sums.groups == {
        "modality": {"CT": 2, "MR": 1},
        "body_part": {"BRAIN": 2, "CHEST": 1},
        "sex": {"F": 1, "M": 1},
        "age": {"40-49": 1, "50-59": 1, "90+": 1},
        "manufacturer": {"SIEMENS": 2},
        "diagnosis": {"C34": 1, "C71": 1},
    }


def test_groups_of_a_part_are_of_what_matches_only(connection: Connection) -> None:
    sums = groups(connection, [LUNG], OneOf("modality", ("MR",)))
    assert (sums.patients, sums.studies, sums.series, sums.instances) == (1, 1, 1, 1)
    assert sums.groups["modality"] == {"MR": 1}
    assert sums.groups["age"] == {"50-59": 1}
    empty = groups(connection, [BREAST], EVERYONE)
    assert (empty.patients, empty.instances, empty.groups["sex"]) == (0, 0, {})


def test_the_digest_of_a_membership_changes_with_it_and_only_then(connection: Connection) -> None:
    chest = OneOf("body_part", ("CHEST",))
    everyone, ours = (membership_digest(connection, [LUNG], query) for query in (EVERYONE, chest))
    assert everyone != ours
    index(connection, clean(1, study=9, patient="E"))
    assert membership_digest(connection, [LUNG], chest) == ours
    assert membership_digest(connection, [LUNG], EVERYONE) != everyone
    index(connection, clean(1, patient="A", version=SECOND), body_part="CHEST")
    assert membership_digest(connection, [LUNG], chest) != ours


def test_removed_diagnoses_no_longer_count(connection: Connection) -> None:
    connection.execute(delete(clinical).where(clinical.c.patient == "A"))
    assert count(connection, [LUNG], OneOf("diagnosis", ("C34", "C71"))) == (0, 0)
