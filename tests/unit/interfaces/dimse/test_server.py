from __future__ import annotations

import contextlib
import io
import logging
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from sqlalchemy import select
from tests.archive import archive, take_in
from tests.support import ct

from carina.errors import BadSettings, Busy
from carina.interfaces.dimse import bounds
from carina.interfaces.dimse.server import start_dimse
from carina.interfaces.dimse.status import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SUCCESS,
    status_of,
)
from carina.model.instance import Reason
from carina.node.ingest import Receipt
from carina.node.site import Node
from carina.storage.schema import arrivals, node_tables

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
"""Who proposes it asks for more than to send, and is served by pynetdicom."""


class Door(NamedTuple):
    node: Node
    port: int


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with archive(tmp_path / "node") as node, listening(node) as port:
        yield Door(node, port)


@contextmanager
def listening(node: Node) -> Iterator[int]:
    server = start_dimse(node, "127.0.0.1", 0, "CARINA")
    try:
        yield server.port
    finally:
        server.stop()


@contextmanager
def association(port: int, *contexts: str, caller: str = "SCANNER") -> Iterator[Association]:
    entity = AE(ae_title=caller)
    for context in contexts:
        entity.add_requested_context(context, EXPLICIT)
    made = entity.associate("127.0.0.1", port, ae_title="CARINA")
    assert made.is_established
    try:
        yield made
    finally:
        made.release()


def slice_(**changes: object) -> Dataset:
    dataset = pydicom.dcmread(io.BytesIO(ct(elements=changes)))
    assert dataset.Rows
    return dataset


def test_an_echo_is_answered(door: Door) -> None:
    with association(door.port, "1.2.840.10008.1.1") as made:
        assert made.send_c_echo().Status == SUCCESS


def test_an_instance_is_in_the_spool_when_its_sender_is_answered(door: Door) -> None:
    with association(door.port, CT_CLASS) as made:
        assert made.send_c_store(slice_()).Status == SUCCESS
        with door.node.engine.connect() as connection:
            [row] = connection.execute(select(arrivals))
    assert (row.source_kind, row.source_name, row.state) == ("aet", "SCANNER", "received")
    assert take_in(door.node) == ["archived"]


def test_private_and_unknown_kinds_are_accepted_and_others_are_not(door: Door) -> None:
    with association(door.port, "1.3.46.670589.11.0.0.12.1", "1.2.840.10008.5.1.4.1.1.999", "2.25.77") as made:
        assert len(made.accepted_contexts) == 3
    with association(door.port, CT_CLASS, "1.2.840.10008.5.1.4.31") as made:
        assert [context.abstract_syntax for context in made.accepted_contexts] == [CT_CLASS]


def test_a_full_disk_is_out_of_resources(door: Door) -> None:
    with listening(replace(door.node, folder=Path("/proc"))) as port, association(port, CT_CLASS) as made:
        assert made.send_c_store(slice_()).Status == OUT_OF_RESOURCES
    assert take_in(door.node) == []


def test_what_is_too_large_is_refused_and_only_the_record_of_it_stays(door: Door) -> None:
    with listening(replace(door.node, largest_instance=3000)) as port, association(port, CT_CLASS) as made:
        assert made.send_c_store(large := slice_(Rows=64, PixelData=bytes(4096))).Status == OUT_OF_RESOURCES
        assert made.send_c_store(slice_(Rows=8, PixelData=bytes(512))).Status == SUCCESS
    assert large.Rows == 64 and door.node.quarantine.names() == [] and len(door.node.spool.names()) == 1
    [entry] = door.node.audit.entries(10, action="refused-not-kept")
    assert entry.actor == "aet:SCANNER" and entry.details["size"] > 4096


def test_a_title_that_is_no_source_is_not_recorded(door: Door) -> None:
    with association(door.port, CT_CLASS, caller="GARCIA MARIA") as made:
        assert made.send_c_store(slice_()).Status == SUCCESS
    assert take_in(door.node) == ["quarantined"]
    with door.node.engine.connect() as connection:
        script = "\n".join(str(row) for table in node_tables.sorted_tables for row in connection.execute(select(table)))
    assert "(not assigned)" in script and "GARCIA" not in script


def test_of_who_asks_for_more_nothing_beyond_twice_the_largest_is_in_memory_at_once(door: Door) -> None:
    largest = 4000
    with listening(replace(door.node, largest_instance=largest)) as port:
        with closing_all(half_sent(port, 3500), half_sent(port, 3500)), association(port, CT_CLASS, FIND) as made:
            assert made.send_c_store(slice_()).Status == OUT_OF_RESOURCES
        until = time.monotonic() + 5
        with association(port, CT_CLASS, FIND) as made:  # what they held is free again
            while made.send_c_store(slice_()).Status != SUCCESS:
                assert time.monotonic() < until
                time.sleep(0.05)
    assert not list(door.node.audit.entries(10, action="refused-not-kept"))


@pytest.mark.parametrize("kinds", [(CT_CLASS,), (CT_CLASS, FIND)])
def test_a_command_without_end_ends_the_association(door: Door, kinds: tuple[str, ...]) -> None:
    with association(door.port, *kinds) as made:
        connection = made.dul.socket.socket  # type: ignore[union-attr]
        assert connection is not None
        with contextlib.suppress(OSError):
            for _ in range(40):
                connection.sendall(fragment(1, bytes(4096)))
        until = time.monotonic() + 5
        while not made.is_aborted:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_pdu_that_claims_to_be_huge_is_not_waited_for(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port), timeout=5) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFF0))
        connection.settimeout(3)
        assert connection.recv(1) == b""


@pytest.mark.parametrize("said", [b"", b"\x01\x00", struct.pack(">BBL", 1, 0, 500) + bytes(10)])
def test_who_says_nothing_is_shown_out(door: Door, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FIRST_WORD", 0.3)
    with listening(door.node) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(said)
        connection.settimeout(3)
        assert connection.recv(1) == b""


def test_silent_connections_do_not_shut_a_scanner_out(door: Door) -> None:
    silent = [socket.create_connection(("127.0.0.1", door.port), timeout=5) for _ in range(60)]
    with closing_all(*silent), association(door.port, CT_CLASS) as made:
        assert made.send_c_store(slice_()).Status == SUCCESS


def test_one_address_has_a_share_of_the_associations(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "PER_ADDRESS", 3)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(association(door.port, "1.2.840.10008.1.1"))
        with socket.create_connection(("127.0.0.1", door.port), timeout=5) as fourth:
            fourth.settimeout(3)
            assert fourth.recv(1) == b""
    with association(door.port, "1.2.840.10008.1.1") as made:
        assert made.send_c_echo().Status == SUCCESS


def fragment(header: int, data: bytes, context: int = 1) -> bytes:
    """A P-DATA-TF PDU of one fragment, PS3.8 section 9.3.5."""
    value = struct.pack(">LBB", len(data) + 2, context, header) + data
    return struct.pack(">BBL", 4, 0, len(value)) + value


@contextmanager
def half_sent(port: int, size: int) -> Iterator[None]:
    """A sender who stops amid a data set of at least `size` bytes."""
    command = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value
        for element, value in (
            (0x0002, CT_CLASS.encode() + b"\0"),
            (0x0100, struct.pack("<H", 1)),
            (0x0110, struct.pack("<H", 1)),
            (0x0700, struct.pack("<H", 0)),
            (0x0800, struct.pack("<H", 1)),
            (0x1000, b"1.2.3\0"),
        )
    )
    with association(port, CT_CLASS, FIND) as made:
        connection = made.dul.socket.socket  # type: ignore[union-attr]
        assert connection is not None
        connection.sendall(fragment(3, command) + fragment(0, bytes(size)))
        time.sleep(0.2)
        yield
        made.abort()


@contextmanager
def closing_all(*things: contextlib.AbstractContextManager[object]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for thing in things:
            stack.enter_context(thing)
        yield


def test_a_failure_nobody_foresaw_is_told_and_nothing_is_acknowledged(door: Door) -> None:
    door.node.engine.dispose()
    with door.node.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE arrivals")
    with association(door.port, CT_CLASS) as made:
        assert made.send_c_store(slice_()).Status == PROCESSING_FAILURE
    assert list(door.node.spool.names()) == []


def test_each_refusal_has_its_status() -> None:
    assert status_of(Receipt("a", "received")) == SUCCESS
    assert status_of(Receipt("a", "refused", Reason.NOT_DICOM)) == CANNOT_UNDERSTAND
    assert status_of(Receipt("a", "refused", Reason.TOO_LARGE)) == OUT_OF_RESOURCES
    assert status_of(Receipt("a", "refused", None)) == PROCESSING_FAILURE


def test_a_port_in_use_is_said_in_one_sentence(door: Door) -> None:
    with pytest.raises(Busy, match=f"Port {door.port}"):
        start_dimse(door.node, "127.0.0.1", door.port, "CARINA")


@pytest.mark.parametrize(("host", "title"), [("192.0.2.1", "CARINA"), ("127.0.0.1", ""), ("127.0.0.1", "A" * 17)])
def test_settings_that_cannot_be_used_are_refused(door: Door, host: str, title: str) -> None:
    with pytest.raises(BadSettings):
        start_dimse(door.node, host, 0, title)


def test_the_port_is_free_again_after_the_stop(tmp_path: Path) -> None:
    with archive(tmp_path / "node") as node:
        server = start_dimse(node, "127.0.0.1", 0, "CARINA")
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=2).close()


def test_nothing_of_the_header_is_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with association(door.port, CT_CLASS) as made:
        made.send_c_store(slice_(PatientName="Secret^Person"))
    assert "Secret" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("pynetdicom")]
