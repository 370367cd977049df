from __future__ import annotations

import io
import logging
import socket
import ssl
import struct
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
import pytest
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation
from tests.archive import archive, take_in
from tests.peering import Certificates, certificates
from tests.support import ct
from tests.upperlayer import (
    ABORT,
    AC,
    CT_CLASS,
    DATA,
    EXPLICIT,
    RELEASE_RP,
    RELEASE_RQ,
    RJ,
    VERIFICATION,
    ask,
    associated,
    command,
    connection,
    fragment,
    item,
    pdu,
    read,
    status,
)

from carina.errors import BadSettings
from carina.interfaces.dimse import bounds, messages, reception
from carina.interfaces.dimse.secure import client_context, listener_context
from carina.interfaces.dimse.server import DimseServer, start_dimse
from carina.interfaces.dimse.status import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, SUCCESS
from carina.model.instance import Peer
from carina.node.parcel import unwrap
from carina.node.site import Node

ECHO = pdu(DATA, fragment(3, command(0x30, follows=False)))
WORKLIST = "1.2.840.10008.5.1.4.31"


class Door(NamedTuple):
    node: Node
    port: int


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with archive(tmp_path / "node") as node, listening(node) as server:
        yield Door(node, server.port)


@contextmanager
def listening(node: Node, **options: Any) -> Iterator[DimseServer]:
    server = start_dimse(node, "127.0.0.1", 0, "CARINA", **options)
    try:
        yield server
    finally:
        server.stop()


def stored(made: socket.socket, data: bytes = b"data", instance: str = "1.2.3") -> int:
    made.sendall(pdu(DATA, fragment(3, command(instance=instance)) + fragment(2, data)))
    kind, answer = read(made)
    assert kind == DATA
    return status(answer)


def refused(port: int, request: bytes) -> tuple[int, ...]:
    with connection(port) as made:
        made.sendall(request)
        kind, body = read(made)
    assert kind == RJ
    return tuple(body[1:])


def eventually(true: Any) -> None:
    until = time.monotonic() + 5
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_senders_are_served_without_pynetdicom_and_others_by_it(door: Door) -> None:
    def threads() -> list[str]:
        return [one.name for one in threading.enumerate() if "AcceptorThread" in one.name]

    with associated(door.port) as made:
        assert stored(made) == SUCCESS and threads() == []
    both = ask((CT_CLASS, (EXPLICIT,)), ("1.2.840.10008.5.1.4.1.2.2.1", (EXPLICIT,)))
    with associated(door.port, both) as made:
        assert stored(made) == SUCCESS and len(threads()) == 1
    first, second = (unwrap(door.node.spool.read(name)).data for name in door.node.spool.names())
    assert first == second


def test_a_file_begins_as_pynetdicom_would_write_it(door: Door) -> None:
    written: list[bytes] = []
    entity = AE()
    entity.add_supported_context(CT_CLASS, EXPLICIT)

    def keep(event: Any) -> int:
        written.append(event.encoded_dataset())
        return 0

    handlers: list[Any] = [(evt.EVT_C_STORE, keep)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        with associated(server.server_address[1]) as made:
            assert stored(made, instance="1.2.34") == SUCCESS
    finally:
        server.shutdown()
    assert written == [messages.file_meta(CT_CLASS.encode(), b"1.2.34", EXPLICIT) + b"data"]


def test_each_presentation_context_has_its_own_answer(door: Door) -> None:
    proposed = [
        (CT_CLASS, ("1.2.840.10008.1.2.4.90", EXPLICIT)),
        (WORKLIST, (EXPLICIT,)),
        ("1.3.46.670589.11", ("1.3.46.1",)),
        (VERIFICATION, ("1.2.840.10008.1.2.4.90",)),
        (VERIFICATION, ("1.2.840.10008.1.2.4.90", EXPLICIT)),
        (CT_CLASS, ()),
    ]
    with connection(door.port) as made:
        made.sendall(ask(*proposed))
        kind, body = read(made)
    assert kind == AC
    answers, place = [], 68
    while place < len(body):
        what, size = struct.unpack_from(">BxH", body, place)
        value = body[place + 4 : place + 4 + size]
        if what == 0x21:
            answers.append((value[0], value[2], value[8:].decode()))
        place += 4 + size
    assert [one[:2] for one in answers] == [(1, 0), (3, 3), (5, 0), (7, 4), (9, 0), (11, 4)]
    assert [text for _, result, text in answers if result == 0] == ["1.2.840.10008.1.2.4.90", "1.3.46.1", EXPLICIT]


def test_of_roles_that_of_sending_is_granted_and_of_operations_one_at_a_time(door: Door) -> None:
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(CT_CLASS, EXPLICIT)
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 8
    role = build_role(CT_CLASS, scu_role=True, scp_role=True)
    made = entity.associate("127.0.0.1", door.port, ext_neg=[window, role])
    assert made.is_established
    assert made.acceptor.asynchronous_operations == (1, 1)
    granted = made.acceptor.role_selection[CT_CLASS]  # type: ignore[index]
    assert (granted.scu_role, granted.scp_role) == (True, False)
    assert made.acceptor.maximum_length == bounds.LARGEST_PDU
    assert made.send_c_store(pydicom.dcmread(io.BytesIO(ct()))).Status == SUCCESS
    made.release()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [(ask(version=2), (1, 2, 2)), (ask(application="1.2.3"), (1, 1, 2)), (ask(called="OTHER"), (1, 1, 7))],
)
def test_a_request_that_cannot_be_met_is_rejected_with_its_reason(
    door: Door, request_: bytes, answer: tuple[int, ...]
) -> None:
    with listening(door.node, strict=True) as server:
        assert refused(server.port, request_) == answer


def test_a_title_used_from_elsewhere_is_rejected_and_audited_without_the_address(door: Door) -> None:
    peers = {"SCANNER": Peer("SCANNER", addresses=("192.0.2.0/24",)), "OTHER": Peer("OTHER", ("127.0.0.1/32",))}
    with listening(replace(door.node, peers=peers)) as server:
        assert refused(server.port, ask()) == (1, 1, 3)
        with associated(server.port, ask(calling="OTHER")) as made:
            assert stored(made) == SUCCESS
    [entry] = door.node.audit.entries(10, action="peer-refused")
    assert entry.actor == "peer:SCANNER" and "127.0.0.1" not in str(entry)


def test_where_only_peers_may_call_others_are_rejected_and_not_named(door: Door) -> None:
    with listening(replace(door.node, peers={"SCANNER": Peer("SCANNER")}), peers_only=True) as server:
        assert refused(server.port, ask(calling="GARCIA MARIA")) == (1, 1, 3)
        certificate = item(0x58, struct.pack(">BBH", 4, 0, 3) + b"abc" + bytes(2))
        assert refused(server.port, ask(calling="GARCIA MARIA", user=certificate)) == (1, 1, 3)
        with associated(server.port) as made:
            assert stored(made) == SUCCESS
    entries = list(door.node.audit.entries(10, action="peer-refused"))
    assert len(entries) == 1 and "GARCIA" not in str(entries)


def test_too_many_associations_are_told_to_come_later(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_ASSOCIATIONS", 2)
    with associated(door.port), associated(door.port):
        assert refused(door.port, ask()) == (2, 3, 2)


def test_fifty_associations_send_at_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "PER_ADDRESS", 100)
    with listening(door.node) as server, ExitStack() as stack:
        made = [stack.enter_context(associated(server.port)) for _ in range(50)]
        for number, one in enumerate(made):
            one.sendall(pdu(DATA, fragment(3, command(instance=f"1.2.{number}")) + fragment(2, bytes(5000))))
        assert server.associations() == 50
        assert [status(read(one)[1]) for one in made] == [SUCCESS] * 50
    assert len(door.node.spool.names()) == 50


def test_several_messages_sent_ahead_are_answered_in_order(door: Door) -> None:
    with associated(door.port) as made:
        made.sendall(
            b"".join(
                pdu(DATA, fragment(3, command(instance=f"1.2.{number}", number=number)) + fragment(2, b"abc"))
                for number in range(5)
            )
            + ECHO
            + pdu(RELEASE_RQ, bytes(4))
        )
        answers = [read(made) for _ in range(7)]
    assert [kind for kind, _ in answers] == [DATA] * 6 + [RELEASE_RP]
    assert [struct.unpack_from("<H", body, body.index(b"\0\0\x20\1\2\0\0\0") + 8)[0] for _, body in answers[:6]] == [
        *range(5),
        7,
    ]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (pdu(DATA, fragment(3, command()) + fragment(2, b"")), CANNOT_UNDERSTAND),
        (pdu(DATA, fragment(3, command(follows=False))), CANNOT_UNDERSTAND),
        (pdu(DATA, fragment(3, command(instance="")) + fragment(2, b"abc")), CANNOT_UNDERSTAND),
        (pdu(DATA, fragment(3, command(instance="../../x")) + fragment(2, b"abc")), CANNOT_UNDERSTAND),
    ],
)
def test_what_is_no_instance_is_told_so_and_the_association_goes_on(door: Door, sent: bytes, answer: int) -> None:
    with associated(door.port) as made:
        made.sendall(sent)
        assert status(read(made)[1]) == answer
        assert stored(made) == SUCCESS
    assert len(door.node.spool.names()) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"\x09" + bytes(5),
        pdu(1, bytes(70)),
        pdu(2, bytes(70)),
        struct.pack(">BxL", DATA, 2**31),
        pdu(DATA, bytes(3)),
        pdu(DATA, struct.pack(">LBB", 2**31, 1, 0)),
        pdu(DATA, struct.pack(">LBB", 1, 1, 0)),
        pdu(DATA, fragment(3, command(), context=3)),
        pdu(DATA, fragment(2, b"data before any command")),
        pdu(DATA, fragment(3, command()) + fragment(3, command())),
        pdu(DATA, fragment(3, b"\0\0\0\1\xff\xff\xff\xff")),
        pdu(DATA, fragment(3, command(0x20))),
        pdu(DATA, fragment(3, command(0x8001, follows=False))),
        pdu(DATA, fragment(1, bytes(40000)) + fragment(1, bytes(40000))),
    ],
)
def test_what_breaks_the_protocol_is_aborted_in_silence(
    door: Door, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with associated(door.port) as made:
        made.sendall(sent)
        assert read(made)[0] == ABORT
        assert read(made)[0] == 0
    assert not [record for record in caplog.records if "dimse" in record.name] and door.node.spool.names() == []


@pytest.mark.parametrize("size", [100, 3 * 2**20])
def test_nothing_stays_of_what_a_sender_breaks_off(door: Door, size: int) -> None:
    begun = pdu(DATA, fragment(3, command())) + b"".join(pdu(DATA, fragment(0, bytes(100))) for _ in range(size // 100))
    with associated(door.port) as made:
        made.sendall(begun)
        made.sendall(pdu(ABORT, bytes(4)))
        assert read(made)[0] == 0
    with associated(door.port) as made:
        made.sendall(begun)
    folder = door.node.folder / "spool"
    assert folder.is_dir()
    eventually(lambda: not list(folder.iterdir()))


def test_a_sender_that_stops_amid_a_pdu_is_shown_out(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "PDU_WITHIN", 0.3)
    with associated(door.port) as made:
        begun = time.monotonic()
        made.sendall(struct.pack(">BxL", DATA, 1000))
        for _ in range(4):
            time.sleep(0.05)
            made.sendall(b"\0")
        assert read(made)[0] == 0 and time.monotonic() - begun < 3
    monkeypatch.setattr(reception, "PATIENCE", 0.3)
    with associated(door.port) as made:
        assert read(made)[0] == 0


def test_too_many_that_wait_are_out_of_resources_until_the_workers_have_had_them(door: Door) -> None:
    with listening(replace(door.node, most_waiting=1)) as server, associated(server.port) as made:
        answers = [stored(made, instance=f"1.2.{number}") for number in range(4)]
        assert OUT_OF_RESOURCES in answers and answers[0] == SUCCESS
        take_in(door.node)
        eventually(lambda: stored(made) == SUCCESS)


def test_neither_large_instances_nor_small_fragments_fill_the_memory(door: Door) -> None:
    part = pdu(DATA, b"".join(fragment(0, bytes(2**16)) for _ in range(8)))
    small = pdu(DATA, b"".join(fragment(0, b"ab") for _ in range(50_000)))
    with associated(door.port) as made:
        made.sendall(ECHO)
        read(made)
        tracemalloc.start()
        made.sendall(pdu(DATA, fragment(3, command())))
        for _ in range(4):
            made.sendall(small)
        for _ in range(60):
            made.sendall(part)
        made.sendall(pdu(DATA, fragment(2, b"ab")))
        assert status(read(made)[1]) == SUCCESS
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10 * 2**20
    [name] = door.node.spool.names()
    with door.node.spool.open(name) as stream:
        assert stream.size > 60 * 2**19


def test_the_end_of_the_listener_ends_associations_at_once(tmp_path: Path) -> None:
    with archive(tmp_path / "node") as node:
        server = start_dimse(node, "127.0.0.1", 0, "CARINA")
        with associated(server.port) as idle, associated(server.port) as amid:
            amid.sendall(pdu(DATA, fragment(3, command()) + fragment(0, b"half")))
            begun = time.monotonic()
            server.stop()
            assert time.monotonic() - begun < 2 and server.associations() == 0
            assert read(idle)[0] == 0 and read(amid)[0] == 0
        assert node.spool.names() == []


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


def test_instances_come_over_tls_and_searches_too(door: Door, own: Certificates) -> None:
    tls = listener_context(own.certificate, own.key, own.certificate)
    caller = client_context(own.certificate, own.key, own.certificate)
    with listening(door.node, tls=tls) as server:
        for kinds in ([CT_CLASS], [CT_CLASS, "1.2.840.10008.5.1.4.1.2.2.1"]):
            entity = AE(ae_title="SCANNER")
            for kind in kinds:
                entity.add_requested_context(kind, EXPLICIT)
            made = entity.associate("127.0.0.1", server.port, tls_args=(caller, "127.0.0.1"))
            assert made.is_established
            assert made.send_c_store(pydicom.dcmread(io.BytesIO(ct(number=len(kinds))))).Status == SUCCESS
            made.release()
    assert take_in(door.node) == ["archived", "archived"]


def test_who_speaks_no_tls_or_shows_no_certificate_is_shown_out(
    door: Door, own: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "FIRST_WORD", 0.5)
    tls = listener_context(own.certificate, own.key, own.certificate)
    with listening(door.node, tls=tls) as server:
        with connection(server.port) as made:
            made.sendall(ask())
            assert read(made)[0] in (0, 0x15)  # nothing, or TLS's own alert
        with connection(server.port) as silent:
            assert read(silent)[0] == 0
        with connection(server.port) as plain, pytest.raises((ssl.SSLError, OSError)):
            bare = client_context(authorities=own.certificate)
            with bare.wrap_socket(plain, server_hostname="127.0.0.1") as made:
                made.sendall(ask())
                if not made.recv(1):
                    raise OSError


def test_files_that_are_no_certificates_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_text("no certificate")
    with pytest.raises(BadSettings):
        listener_context(tmp_path / "own.pem", tmp_path / "own.pem")
