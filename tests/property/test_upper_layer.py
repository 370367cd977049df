"""However a sender cuts its messages into fragments, PDUs and packets: the same bytes arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.archive import archive
from tests.upperlayer import (
    DATA,
    RELEASE_RP,
    RELEASE_RQ,
    ask,
    associated,
    command,
    connection,
    fragment,
    pdu,
    read,
    status,
)

from carina.interfaces.dimse import messages, negotiation
from carina.interfaces.dimse.negotiation import Malformed
from carina.interfaces.dimse.server import start_dimse
from carina.node.parcel import unwrap
from carina.node.site import Node


class Door(NamedTuple):
    node: Node
    port: int


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder: Path = tmp_path_factory.mktemp("reception")
    with archive(folder / "node") as node:
        server = start_dimse(node, "127.0.0.1", 0, "CARINA")
        yield Door(node, server.port)
        server.stop()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Some of the parts may be empty."""
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


PLACES = st.lists(st.integers(0, 1 << 20), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    data=st.one_of(st.binary(min_size=1, max_size=300), st.integers(1, 1500).map(lambda n: bytes(range(256)) * n)),
    in_command=PLACES,
    in_data=PLACES,
    in_pdus=PLACES,
    in_packets=PLACES,
)
def test_a_message_is_the_same_however_it_is_cut(
    door: Door, data: bytes, in_command: list[int], in_data: list[int], in_pdus: list[int], in_packets: list[int]
) -> None:
    fragments = []
    for kind, whole, places in ((1, command(), in_command), (0, data, in_data)):
        parts = cut(whole, places)
        fragments += [fragment(kind | (2 if place == len(parts) - 1 else 0), one) for place, one in enumerate(parts)]
    bounds = [0, *sorted(place % (len(fragments) + 1) for place in in_pdus), len(fragments)]
    pdus = [fragments[start:end] for start, end in pairwise(bounds)]
    sent = b"".join(pdu(DATA, b"".join(one)) for one in pdus if one)
    with associated(door.port) as made:
        for packet in cut(sent, in_packets):
            made.sendall(packet)
        kind, answer = read(made)
        assert (kind, status(answer)) == (DATA, 0)
        made.sendall(pdu(RELEASE_RQ, bytes(4)))
        assert read(made)[0] == RELEASE_RP
    [name] = door.node.spool.names()
    kept = unwrap(door.node.spool.read(name)).data
    door.node.spool.remove(name)
    assert kept == messages.file_meta(b"1.2.840.10008.5.1.4.1.1.2", b"1.2.3", "1.2.840.10008.1.2.1") + data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 1 << 20))
def test_no_bytes_are_more_than_malformed(noise: bytes, place: int) -> None:
    whole = ask()[6:]
    at = place % len(whole)
    for body in (noise, whole[:at] + noise, whole[:at] + noise + whole[at + len(noise) :]):
        for parse in (negotiation.parse_request, messages.parse_command):
            with suppress(Malformed):
                parse(body)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.booleans(), st.integers(0, 1 << 20))
def test_noise_ends_the_association_and_not_the_listener(door: Door, noise: bytes, early: bool, place: int) -> None:
    whole = (b"" if early else ask()) + pdu(DATA, fragment(3, command()) + fragment(0, b"abc"))
    at = place % (len(whole) + 1)
    with connection(door.port) as made:
        made.sendall(whole[:at] + noise + whole[at:])
    with associated(door.port) as made:
        made.sendall(pdu(DATA, fragment(3, command(0x30, follows=False))))
        assert status(read(made)[1]) == 0
    for name in door.node.spool.names():
        door.node.spool.remove(name)
