"""The content tree of structured reports, by Table E.3.4-1."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.rules.contents import ITEMS
from carina.deid.words.content import action_of, clean_items

OWN = frozenset(("GARCIA", "MR12345678Z"))
DATES = "retain_longitudinal_modified_dates"


def item(kind: str, code: str = "1", scheme: str = "99LOCAL", **values: Any) -> Dataset:
    named = Dataset()
    named.CodeValue, named.CodingSchemeDesignator, named.CodeMeaning = code, scheme, "Finding"
    found = Dataset()
    found.RelationshipType, found.ValueType, found.ConceptNameCodeSequence = "CONTAINS", kind, Sequence([named])
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return found


def tree(*items: Dataset, options: tuple[str, ...] = ()) -> list[Dataset]:
    """As if the header's rules had left everything."""
    found = Sequence(items)
    return list(clean_items(found, deepcopy(found), OWN, options))


def age(years: str) -> Dataset:
    measured = Dataset()
    measured.NumericValue = years
    units = Dataset()
    units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = "a", "UCUM", "year"
    measured.MeasurementUnitsCodeSequence = Sequence([units])
    return item("NUM", "121033", "DCM", MeasuredValueSequence=Sequence([measured]))


def test_unlisted_texts_are_cleaned_and_names_replaced() -> None:
    text, name = tree(
        item("TEXT", TextValue="Ms Garcia (MR12345678Z): 4 mm nodule in the right upper lobe."),
        item("PNAME", PersonName="Obserwatorski^Jan"),
    )
    assert text.TextValue == "4 mm nodule in the right upper lobe."
    assert name.PersonName == "REMOVED"
    [nothing] = tree(item("TEXT", TextValue="Garcia"))
    assert nothing.TextValue == "REMOVED"


def test_a_listed_item_is_removed_with_its_children_and_an_empty_level_with_them() -> None:
    holder = item("CONTAINER", ContentSequence=Sequence([item("TEXT", "121022", "DCM", TextValue="77123")]))
    [container] = tree(holder, item("TEXT", "121022", "DCM", TextValue="77123"))
    assert "ContentSequence" not in container


def test_items_keep_their_places_where_others_refer_to_them() -> None:
    reference = Dataset()
    reference.RelationshipType, reference.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 1]
    kept = tree(
        item("TEXT", "121022", "DCM", TextValue="77123"), item("CONTAINER", ContentSequence=Sequence([reference]))
    )
    assert [found.get("TextValue") for found in kept] == ["REMOVED", None]
    assert kept[1].ContentSequence[0].ReferencedContentItemIdentifier == [1, 1]


def test_an_age_over_89_years_is_90_and_none_stays_without_the_option() -> None:
    assert tree(age("94")) == []
    for years, left in (("94", "90"), ("89", "89")):
        [found] = tree(age(years), options=("retain_patient_characteristics",))
        assert str(found.MeasuredValueSequence[0].NumericValue) == left


def test_a_value_that_the_header_removed_becomes_a_dummy() -> None:
    moment, code = tree(item("DATE"), item("CODE"))
    assert moment.Date == "19000101"
    assert code.ConceptCodeSequence[0].CodeValue == "261665006"


def test_an_item_of_an_unknown_value_type_goes() -> None:
    assert tree(item("GARCIA")) == []


def test_each_row_of_the_table_holds_under_each_of_its_options() -> None:
    assert len(ITEMS) == 214
    for row in ITEMS:
        found = item(row.value_type, row.code, row.scheme)
        assert action_of(found, ()) == ("D" if "D" in row.basic else "X")
        for option, action in row.options.items():
            assert action_of(found, (option,)) == action
