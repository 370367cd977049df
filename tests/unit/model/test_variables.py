"""What can be asked for is all that nodes can hold."""

from __future__ import annotations

import re

from carina.dicom import bodyparts
from carina.model.cohort import OneOf
from carina.model.topography import SITES
from carina.model.variables import BY_NAME, require_known, unknown_terms


def test_every_body_part_that_an_image_can_be_given_can_be_asked_for() -> None:
    parts = set(bodyparts._PARTS.values())
    assert parts == {value for value, _ in BY_NAME["body_part"].values}
    require_known(OneOf("body_part", tuple(sorted(parts))))


def test_the_sites_are_those_of_icd_o_3_each_once_and_in_order() -> None:
    codes = [code for code, _ in SITES]
    assert codes == sorted(set(codes))
    assert (codes[0], codes[-1], len(codes)) == ("C00", "C80", 70)
    assert all(re.fullmatch(r"C\d\d", code) and label == label.strip() != "" for code, label in SITES)
    assert dict(SITES)["C16"] == "Stomach"


def test_a_code_that_is_no_site_is_named() -> None:
    assert unknown_terms(OneOf("diagnosis", ("C16", "C43", "C99"))) == ["diagnosis=C43", "diagnosis=C99"]
