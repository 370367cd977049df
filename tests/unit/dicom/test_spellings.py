from __future__ import annotations

import pytest

from carina.dicom.bodyparts import body_part
from carina.dicom.makers import maker
from carina.model.variables import BY_NAME


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GE MEDICAL SYSTEMS", "GE"),
        ("GEMS", "GE"),
        ("SIEMENS", "SIEMENS"),
        ("Siemens Healthineers", "SIEMENS"),
        ("SIEMENS_NM", "SIEMENS"),
        ("Philips Medical Systems", "PHILIPS"),
        ("Philips", "PHILIPS"),
        ("TOSHIBA_MEC", "CANON"),
        ("Canon Medical Systems", "CANON"),
        ("CANON_MEC", "CANON"),
        ("LORAD, A Hologic Company", "HOLOGIC"),
        ("UIH", "UNITED IMAGING"),
        ("Shanghai United Imaging Healthcare", "UNITED IMAGING"),
        ("Agfa-Gevaert", "OTHER"),
        ("Geneva Scanners", "OTHER"),
        ("", None),
        (" - ", None),
    ],
)
def test_makers_have_one_spelling(text: str, expected: str | None) -> None:
    assert maker(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CHEST", "CHEST"),
        ("Thorax", "CHEST"),
        ("CHEST/ABDOMEN", "CHEST"),
        ("CHESTABDPELVIS", "CHEST"),
        ("ABDOMEN_PELVIS", "ABDOMEN"),
        ("C-SPINE", "SPINE"),
        ("LSPINE", "SPINE"),
        ("WHOLE BODY", "WHOLEBODY"),
        ("whole_body", "WHOLEBODY"),
        ("Breast", "BREAST"),
        ("HEAD AND NECK", "HEAD"),
        ("KNEE", None),
        ("", None),
    ],
)
def test_body_parts_have_one_spelling(text: str, expected: str | None) -> None:
    assert body_part(text) == expected


def test_every_value_of_the_variables_is_its_own_spelling() -> None:
    for value, _ in BY_NAME["body_part"].values:
        assert body_part(value) == value
    for value, _ in BY_NAME["manufacturer"].values:
        assert maker(value) == value
