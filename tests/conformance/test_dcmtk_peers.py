"""A node's DICOM peers as foreign programs are them: DCMTK's tools and pynetdicom's applications, unmodified."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from tests.archive import take_in
from tests.peering import certificates, free_port
from tests.support import ct, open_test_node

from carina.interfaces.dimse.secure import client_context
from carina.interfaces.dimse.send import Outcome, from_files, send
from carina.interfaces.dimse.server import start_dimse
from carina.model.instance import Peer
from carina.node.site import Node

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
MAY = frozenset({"find", "get", "move", "commit"})


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"'{name}' of DCMTK is not on this machine: install the package 'dcmtk' and run the tests again"
    return found


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[int]:
    """A PACS that keeps what it is sent in `folder`; its port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [tool("storescp"), "-od", str(folder), "-aet", "PACS", *options, str(port)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        time.sleep(0.5)
        try:
            yield port
        finally:
            running.terminate()
            running.wait(10)


@contextmanager
def site(folder: Path, files: Sequence[bytes], port: int = 0, **changes: object) -> Iterator[tuple[Node, int]]:
    known = Peer("PACS", may=MAY, dataset="*", host="127.0.0.1" if port else "", port=port, addresses=("127.0.0.1/32",))
    with open_test_node(folder, peers={"PACS": known}) as node:
        take_in(node, files)
        server = start_dimse(node, "127.0.0.1", 0, "CARINA")
        try:
            yield node, server.port
        finally:
            server.stop()


def run(name: str, port: int, *options: str, caller: str = "PACS") -> str:
    """All that a tool says."""
    command = [tool(name), "-v", "-aet", caller, "-aec", "CARINA", *options, "127.0.0.1", str(port)]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    return ended.stdout + ended.stderr


def application(name: str, port: int, *options: str, cwd: Path) -> str:
    """All that an application of pynetdicom says."""
    command = [sys.executable, "-m", "pynetdicom", name, "127.0.0.1", str(port), "-aet", "PACS", "-aec", "CARINA"]
    ended = subprocess.run([*command, *options], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    return ended.stdout + ended.stderr


def keys(**wanted: str) -> list[str]:
    return [part for name, value in wanted.items() for part in ("-k", f"{name}={value}" if value else name)]


def compressed(data: bytes) -> bytes:
    packed = pydicom.dcmread(io.BytesIO(data))
    packed.compress(RLELossless, encoding_plugin="pydicom")
    file = io.BytesIO()
    packed.save_as(file)
    return file.getvalue()


def found(port: int, folder: Path, root: str, *wanted: str) -> list[pydicom.Dataset]:
    folder.mkdir()
    said = run("findscu", port, root, "-X", "-od", str(folder), *wanted)
    assert "Success" in said, said
    return [pydicom.dcmread(path) for path in sorted(folder.glob("rsp*.dcm"))]


def test_findscu_finds_patients_studies_series_and_images(tmp_path: Path) -> None:
    files = [*(ct("A", number=number) for number in (1, 2)), ct("B")]
    with site(tmp_path / "node", files) as (_, port):
        persons = found(port, tmp_path / "p", "-P", *keys(QueryRetrieveLevel="PATIENT", PatientID="", PatientName=""))
        assert len(persons) == 2
        person = keys(PatientID=persons[0].PatientID)
        [study] = found(port, tmp_path / "s", "-P", *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=""), *person)
        above = keys(StudyInstanceUID=study.StudyInstanceUID)
        level = keys(QueryRetrieveLevel="SERIES", SeriesInstanceUID="")
        [series] = found(port, tmp_path / "r", "-S", *level, *above)
        above += keys(SeriesInstanceUID=series.SeriesInstanceUID)
        images = found(port, tmp_path / "i", "-S", *keys(QueryRetrieveLevel="IMAGE", SOPInstanceUID=""), *above)
        assert len(images) in (1, 2)


@pytest.mark.parametrize(
    ("options", "syntax"), [((), ExplicitVRLittleEndian), (("+xr",), RLELossless)], ids=["plain", "rle"]
)
def test_movescu_has_a_study_sent_to_storescp_in_a_form_it_takes(
    tmp_path: Path, options: tuple[str, ...], syntax: str
) -> None:
    with (
        storescp(tmp_path / "pacs", *options) as there,
        site(tmp_path / "node", [compressed(ct())], there) as (node, port),
    ):
        [study] = found(port, tmp_path / "f", "-S", *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=""))
        wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study.StudyInstanceUID)
        said = run("movescu", port, "-S", "-aem", "PACS", *wanted)
        assert "Success" in said, said
        [path] = (tmp_path / "pacs").iterdir()
        came = pydicom.dcmread(path)
        assert (came.StudyInstanceUID, came.file_meta.TransferSyntaxUID) == (study.StudyInstanceUID, syntax)
        assert came.pixel_array.shape == (32, 32)
        [entry] = node.audit.entries(5, action="released")
        assert (entry.actor, entry.details["to"], entry.details["instances"]) == ("peer:PACS", "peer:PACS", 1)
        assert "MoveDestinationUnknown" in run("movescu", port, "-S", "-aem", "NOWHERE", *wanted)


def test_getscu_fetches_what_a_peer_may(tmp_path: Path) -> None:
    with site(tmp_path / "node", [ct(number=number) for number in (1, 2)]) as (node, port):
        [study] = found(port, tmp_path / "f", "-S", *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=""))
        wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study.StudyInstanceUID)
        (tmp_path / "out").mkdir()
        said = run("getscu", port, "-S", "-od", str(tmp_path / "out"), *wanted)
        assert len(list((tmp_path / "out").iterdir())) == 2, said
        assert [entry.actor for entry in node.audit.entries(5, action="released")] == ["peer:PACS"]
        assert "0x124" in run("getscu", port, "-S", "-od", str(tmp_path), *wanted, caller="OTHER").lower()


def test_the_applications_of_pynetdicom_find_fetch_and_have_moved(tmp_path: Path) -> None:
    with storescp(tmp_path / "pacs") as there, site(tmp_path / "node", [ct()], there) as (_, port):
        said = application(
            "findscu", port, "-S", "-v", *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=""), cwd=tmp_path
        )
        uid = re.search(r"StudyInstanceUID|\(0020,000D\)[^\[\n]*\[?([0-9.]+)", said, re.IGNORECASE)
        assert "0x0000" in said or "Success" in said, said
        [study] = found(port, tmp_path / "f", "-S", *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=""))
        assert uid is not None
        wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study.StudyInstanceUID)
        (tmp_path / "got").mkdir()
        said = application("getscu", port, "-S", "-v", "-od", str(tmp_path / "got"), *wanted, cwd=tmp_path)
        assert len(list((tmp_path / "got").iterdir())) == 1, said
        said = application("movescu", port, "-S", "-v", "-aem", "PACS", *wanted, cwd=tmp_path)
        assert len(list((tmp_path / "pacs").iterdir())) == 1, said


# --- carina send ---


def outcomes(port: int, files: Sequence[Path], **options: object) -> list[Outcome]:
    peer = Peer("PACS", host="127.0.0.1", port=port, tls=bool(options))
    return list(send(peer, from_files(files), caller="CARINA", **options))  # type: ignore[arg-type]


def test_files_are_sent_to_storescp_as_they_are_and_what_is_none_is_told_by_number(tmp_path: Path) -> None:
    paths = []
    for number in (1, 2):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(ct(number=number))
    other = tmp_path / "notes.txt"
    other.write_text("no image")
    with storescp(tmp_path / "pacs") as port:
        assert [one.end for one in outcomes(port, [paths[0], other, paths[1]])] == ["sent", "not DICOM", "sent"]
    came = sorted(pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "pacs").iterdir())
    assert came == sorted(pydicom.dcmread(path).SOPInstanceUID for path in paths)


def test_what_is_compressed_is_sent_without_compression_where_it_must_be(tmp_path: Path) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(compressed(ct()))
    for number, (options, syntax) in enumerate([((), ExplicitVRLittleEndian), (("+xr",), RLELossless)]):
        folder = tmp_path / f"pacs-{number}"
        with storescp(folder, *options) as port:
            assert [one.end for one in outcomes(port, [path])] == ["sent"]
        [came] = folder.iterdir()
        assert pydicom.dcmread(came).file_meta.TransferSyntaxUID == syntax


def test_files_are_sent_by_tls(tmp_path: Path) -> None:
    own = certificates(tmp_path)
    path = tmp_path / "1.dcm"
    path.write_bytes(ct())
    secured = ("+tls", str(own.key), str(own.certificate), "+cf", str(own.certificate))
    context = client_context(own.certificate, own.key, own.certificate)
    with storescp(tmp_path / "pacs", *secured) as port:
        assert [one.end for one in outcomes(port, [path], tls=context)] == ["sent"]
