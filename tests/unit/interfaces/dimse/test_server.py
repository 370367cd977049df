from __future__ import annotations

import io
import logging
import socket
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
from carina.interfaces.dimse.server import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SUCCESS,
    start_dimse,
    status_of,
)
from carina.model.instance import Reason
from carina.node.ingest import Receipt
from carina.node.site import Node
from carina.storage.schema import arrivals

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


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
    with association(door.port, CT_CLASS, "1.2.840.10008.5.1.4.1.2.2.1") as made:
        assert [context.abstract_syntax for context in made.accepted_contexts] == [CT_CLASS]


def test_a_full_disk_is_out_of_resources(door: Door) -> None:
    with listening(replace(door.node, folder=Path("/proc"))) as port, association(port, CT_CLASS) as made:
        assert made.send_c_store(slice_()).Status == OUT_OF_RESOURCES
    assert take_in(door.node) == []


def test_what_is_too_large_is_refused(door: Door) -> None:
    with listening(replace(door.node, largest_instance=100)) as port, association(port, CT_CLASS) as made:
        assert made.send_c_store(slice_()).Status == OUT_OF_RESOURCES


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
