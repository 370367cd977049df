"""A clinical table becomes pseudonymous rows, or one error that names lines and columns and no value."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from carina.deid.clinical import COLUMNS, ClinicalRow, deidentify_rows
from carina.deid.person import Person
from carina.deid.pseudonyms import ProjectKeys, patient_key, shift_days
from carina.errors import InvalidTable
from carina.model.ids import ProjectId

KEYS = ProjectKeys.of(b"k" * 32, ProjectId("lung"))
GOOD = {
    "patient_id": "MRN-1",
    "issuer": "HUS",
    "sex": "F",
    "birth_date": "1950-02-28",
    "topography": "C34.1",
    "morphology": "8140/3",
    "diagnosis_date": "2015-02-27",
    "stage": "IIIA",
    "treatment": "chemotherapy;surgery",
    "vital_status": "alive",
}


def table(*lines: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    rows = [",".join((GOOD | line).get(column, "") for column in columns) for line in lines]
    return "\n".join([",".join(columns), *rows]) + "\n"


def rows(*lines: dict[str, str], **options: object) -> list[ClinicalRow]:
    return deidentify_rows(table(*lines), KEYS, **options)  # type: ignore[arg-type]


def test_a_row_has_the_pseudonym_and_the_shift_of_the_persons_images() -> None:
    person = Person("HUS", "MRN-1")
    [row] = rows({})
    assert row.patient == patient_key(KEYS, person)
    assert row.diagnosis_date == (date(2015, 2, 27) + timedelta(days=shift_days(KEYS, person))).isoformat()
    assert (row.number, row.sex, row.topography, row.site, row.morphology) == (1, "F", "C34.1", "C34", "8140/3")
    assert (row.stage, row.treatment, row.vital_status) == ("IIIA", "surgery;chemotherapy", "alive")
    assert row.age_at_diagnosis == 64  # a day before the 65th birthday
    assert "MRN-1" not in repr(row)
    assert "1950" not in repr(row)


def test_ages_above_ninety_are_told_as_ninety() -> None:
    assert rows({"birth_date": "1915-01-01"})[0].age_at_diagnosis == 90


def test_empty_cells_are_nothing_and_the_identifier_and_site_must_be_there() -> None:
    empty = dict.fromkeys(set(COLUMNS) - {"patient_id", "topography"}, "")
    [row] = rows(empty, default_issuer="HUS")
    assert row.patient == rows({})[0].patient
    assert (row.sex, row.morphology, row.diagnosis_date, row.age_at_diagnosis, row.treatment) == (None,) * 5
    for column in ("patient_id", "topography"):
        with pytest.raises(InvalidTable, match=f"line 2, {column}"):
            rows({column: ""})


def test_diagnoses_of_a_person_are_numbered_by_date_and_share_what_one_line_says() -> None:
    found = rows({"diagnosis_date": "2018-01-01"}, {"diagnosis_date": "2012-01-01", "sex": "", "birth_date": ""})
    assert [row.number for row in found] == [1, 2]
    assert found[0].diagnosis_date is not None and found[1].diagnosis_date is not None
    assert found[0].diagnosis_date < found[1].diagnosis_date
    assert [row.sex for row in found] == ["F", "F"]
    assert [row.age_at_diagnosis for row in found] == [61, 67]


def test_identifiers_are_read_as_those_of_images_are() -> None:
    expected = patient_key(KEYS, Person("HUS", "7"))
    assert rows({"patient_id": " 007 "}, strip_leading_zeros=True)[0].patient == expected
    assert rows({"patient_id": "OLD"}, aliases={Person("HUS", "OLD"): Person("HUS", "7")})[0].patient == expected


def test_a_table_from_a_spreadsheet_is_read() -> None:
    text = "\ufeff" + table({}).replace("\n", "\r\n") + ",,,,,,,,,\r\n\r\n"
    assert deidentify_rows(text, KEYS) == rows({})
    without_issuer = tuple(column for column in COLUMNS if column != "issuer")
    assert deidentify_rows(table({}, columns=without_issuer), KEYS, default_issuer="HUS") == rows({})
    assert deidentify_rows(table({}, columns=COLUMNS[::-1]), KEYS) == rows({})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("sex", "female-ish"),
        ("birth_date", "28.02.1950"),
        ("birth_date", "1950-02-30"),
        ("birth_date", "2016-01-01"),
        ("topography", "C99.1"),
        ("topography", "lung"),
        ("morphology", "8140"),
        ("diagnosis_date", "20150227"),
        ("diagnosis_date", "1066-10-14"),
        ("stage", "Maria Garcia"),
        ("treatment", "surgery;prayer"),
        ("treatment", "none;surgery"),
        ("vital_status", "moved"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_column_and_never_quoted(column: str, value: str) -> None:
    with pytest.raises(InvalidTable) as caught:
        rows({"patient_id": "MRN-0"}, {column: value})
    named = "diagnosis_date" if value == "2016-01-01" else column
    assert f"line 3, {named}" in caught.value.message
    for word in ("prayer", "Maria", "female-ish", "moved", "1066", "1950", "MRN"):
        assert word not in caught.value.message


@pytest.mark.parametrize("stage", ["I", "IIIA", "IVB", "IA3", "0", "4", "pT2a N1 M0", "T4 NX M1b", "limited", ""])
def test_stages_as_registries_write_them_are_taken(stage: str) -> None:
    assert rows({"stage": stage})[0].stage == (stage or None)


def test_a_person_cannot_have_two_sexes_two_birth_dates_or_one_diagnosis_twice() -> None:
    with pytest.raises(InvalidTable, match="line 3, sex: not the one of line 2"):
        rows({}, {"sex": "M", "topography": "C50.1"})
    with pytest.raises(InvalidTable, match="line 3, birth_date: not the one of line 2"):
        rows({}, {"birth_date": "1951-01-01", "topography": "C50.1"})
    with pytest.raises(InvalidTable, match="line 3, topography: the same diagnosis as line 2"):
        rows({}, {"stage": "IV"})


def test_a_header_that_is_not_the_one_described_is_refused_without_quoting_it() -> None:
    with pytest.raises(InvalidTable, match="lacks: patient_id"):
        deidentify_rows("Maria,Garcia\n", KEYS)
    with pytest.raises(InvalidTable, match="lacks"):
        deidentify_rows("", KEYS)
    with pytest.raises(InvalidTable, match="not known, at 11") as caught:
        deidentify_rows(table({}, columns=(*COLUMNS, "telephone")), KEYS)
    assert "telephone" not in caught.value.message
    with pytest.raises(InvalidTable, match="twice"):
        deidentify_rows(table({}, columns=(*COLUMNS, "sex")), KEYS)


def test_lines_that_do_not_fit_the_header_are_named_and_many_faults_are_summed() -> None:
    with pytest.raises(InvalidTable, match="line 3, it has 2 cells, the header has 10"):
        deidentify_rows(table({}) + "MRN-2,HUS\n", KEYS)
    with pytest.raises(InvalidTable, match="and 15 more"):
        deidentify_rows(table({}) + "a,b\n" * 25, KEYS)
    with pytest.raises(InvalidTable, match="no CSV: line 3"):
        deidentify_rows(table({}) + '"MRN-2\n', KEYS)
