"""Bytes with the line that says whence and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from carina.errors import InvalidInstance
from carina.model.ids import ProjectId
from carina.model.instance import Source
from carina.node.parcel import UNASSIGNED, Parcel, recorded, unwrap, wrap

AT = "2026-01-02T03:04:05.678901Z"


@given(some.binary(max_size=200), some.text(max_size=200), some.sampled_from(["aet", "token", "folder"]))
def test_what_is_wrapped_comes_out_whole(data: bytes, name: str, kind: str) -> None:
    parcel = Parcel(Source(kind, name), AT, data)  # type: ignore[arg-type]
    assert unwrap(wrap(parcel)) == parcel


@pytest.mark.parametrize(
    "foreign", [b"", b"\n", b"{}\n", b"[1]\n", b"no json\n", b'{"v":2,"kind":"aet"}\n', b'{"v":1,"kind":"aet"}\nx']
)
def test_other_bytes_are_no_parcel(foreign: bytes) -> None:
    with pytest.raises(InvalidInstance):
        unwrap(foreign)


def test_records_name_a_source_only_when_it_was_configured() -> None:
    inbox, scanner = Source("folder", "inbox"), Source("aet", "SCANNER")
    assigned = {inbox: ProjectId("lung"), scanner: ProjectId("lung")}
    assert [recorded(source, assigned) for source in (inbox, scanner)] == [inbox, scanner]
    for stray in (Source("folder", "/export/Garcia"), Source("aet", "GARCIA_MARIA"), Source("token", "garcia")):
        assert recorded(stray, assigned) == Source(stray.kind, UNASSIGNED)


def test_a_parcel_does_not_show_its_bytes() -> None:
    assert "Garcia" not in repr(Parcel(Source("aet", "A"), AT, b"Garcia"))
