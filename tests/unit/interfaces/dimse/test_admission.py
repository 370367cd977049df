"""Which classes are taken for storage."""

from __future__ import annotations

import pytest

from carina.interfaces.dimse.admission import is_storage


@pytest.mark.parametrize("abstract", ["1.82.01.40008", "1.2.840.1.00805.1", "1.2.840.10008.5.1.4.1.1.02"])
def test_what_is_almost_a_uid_is_judged_without_a_warning_that_quotes_it(abstract: str) -> None:
    assert is_storage(abstract)


@pytest.mark.parametrize("abstract", ["", "1.2.x", "1" * 65, "1.2.840.10008.5.1.4.31"])
def test_what_is_no_uid_or_something_else_of_the_standard_is_not_storage(abstract: str) -> None:
    assert not is_storage(abstract)
