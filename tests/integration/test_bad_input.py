"""What goes wrong at a site, on services that run: a sentence, a fitting code or status, and nothing lost."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pynetdicom import AE, _config
from tests.archive import message
from tests.pages import csrf
from tests.support import ct

from carina.app.found import NewHub, NewNode, found_hub, found_node
from carina.app.hub import open_hub
from carina.app.site import open_node
from carina.demo.folder import free_ports
from carina.errors import SignInFailed, Unreachable
from carina.hub.nodes import invite
from carina.interfaces.client.client import connect
from carina.model.cohort import OneOf
from carina.model.ids import ProjectId
from carina.model.instance import Reason
from carina.node import quarantine
from carina.node.parcel import unwrap
from carina.node.status import status
from carina.storage import accounts, cohort
from carina.storage.arrivals import waiting

PASSWORD = "correct horse battery"
HEADER = "patient_id,issuer,sex,birth_date,topography,morphology,diagnosis_date,stage,treatment,vital_status\n"
STOW = {
    "Content-Type": 'multipart/related; type="application/dicom"; boundary=edge',
    "Accept": "application/dicom+json",
}


@dataclass(frozen=True)
class Service:
    """A founded service: its folder, address, and for a node a sender's token and its ports."""

    kind: str
    folder: Path
    url: str
    token: str = ""
    ports: tuple[int, ...] = ()

    @property
    def log(self) -> str:
        return self.folder.with_suffix(".log").read_text()


def new_node(place: Path, name: str = "node") -> Service:
    inside, outside, dimse = free_ports([0, 0, 0])
    new = NewNode(
        title="Hospital Ficticio",
        institution="Hospital Ficticio",
        country="ES",
        project="lung",
        issuer="HOSPITAL",
        inside_port=inside,
        outside_port=outside,
        dimse_port=dimse,
        sources=(("token", "pacs"), ("aet", "SCANNER"), ("folder", "/nowhere/inbox")),
    )
    found_node(place / name, place / f"{name}.json", new)
    with open_node(place / name) as node:
        token = accounts.add_token(node.engine, "pacs", {"sender"})
    return Service("node", place / name, f"http://127.0.0.1:{inside}", token, (inside, outside, dimse))


def new_hub(place: Path, name: str = "hub", url: str = "") -> Service:
    port, broker = free_ports([0, 0])
    url = url or f"http://127.0.0.1:{port}"
    found_hub(place / name, place / f"{name}.json", NewHub("Test hub", url, port, broker))
    with open_hub(place / name) as hub:
        accounts.add_account(hub.engine, "rosa", PASSWORD, {"researcher"})
    return Service("hub", place / name, url, ports=(port, broker))


def carina(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "carina", *map(str, arguments)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """What the command said: one sentence with a hint in one line, after the log's own lines."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("carina: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@contextmanager
def serving(service: Service) -> Iterator[int]:
    """The service in a process of its own, from when it answers; its process id."""
    with service.folder.with_suffix(".log").open("ab") as log:
        command = [sys.executable, "-m", "carina", service.kind, "serve", str(service.folder)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{service.ports[0]}/health/ready"))
        assert process.poll() is None, service.log
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)


def stow(node: Service, *files: bytes) -> httpx2.Response:
    headers = {**STOW, "Authorization": f"Bearer {node.token}"}
    url = f"http://127.0.0.1:{node.ports[0]}/dicom-web/studies"
    return httpx2.post(url, content=message(files), headers=headers, timeout=60, trust_env=False)


def settled(node: Service) -> dict[str, Any]:
    """The node's status when no instance waits for a worker."""
    with open_node(node.folder) as opened:
        until(lambda: waiting(opened.engine) == 0)
        return status(opened)


def in_quarantine(node: Service, reason: Reason) -> list[bytes]:
    """The bytes that wait for one reason, as they were received."""
    with open_node(node.folder) as opened:
        held = quarantine.entries(opened, reason)
        return [unwrap(opened.quarantine.read(one.id)).data for one in held]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A node that runs."""
    made = new_node(tmp_path_factory.mktemp("site"))
    with serving(made):
        yield made


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A hub that runs."""
    made = new_hub(tmp_path_factory.mktemp("centre"))
    with serving(made):
        yield made


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_truncated_file_rests_in_quarantine_as_it_came(node: Service) -> None:
    data = ct("MRN-CUT", size=64)[:-1000]
    assert stow(node, data).status_code == 200
    assert settled(node)["quarantine"]["damaged"] == 1
    assert in_quarantine(node, Reason.DAMAGED) == [data]
    assert "damaged" in carina("node", "quarantine", "list", node.folder).stdout


def test_a_text_named_dcm_is_refused_in_the_protocol_s_words_and_kept(node: Service, tmp_path: Path) -> None:
    text = b"Dear colleague, this is about Maria Garcia."
    answer = stow(node, text)
    assert answer.status_code == 409
    assert answer.json()["0008119A"]["Value"][0]["00081197"]["Value"] == [0xC000]
    (tmp_path / "Garcia.dcm").write_bytes(text + b" Yours")
    said = complaint(carina("node", "ingest", node.folder, tmp_path / "Garcia.dcm"), 65)
    assert "1 of 1 files were not taken in" in said and "Garcia" not in said
    assert sorted(in_quarantine(node, Reason.NOT_DICOM)) == [text, text + b" Yours"]
    assert "Garcia" not in node.log


def test_an_unknown_transfer_syntax_rests_in_quarantine_as_it_came(node: Service) -> None:
    data = ct("MRN-SYNTAX").replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0")
    assert stow(node, data).status_code == 200
    assert settled(node)["quarantine"]["unknown-transfer-syntax"] == 1
    assert in_quarantine(node, Reason.UNKNOWN_TRANSFER_SYNTAX) == [data]


def test_good_files_between_bad_ones_are_archived(node: Service) -> None:
    before = settled(node)["archive"]["instances"]
    answer = stow(node, ct("MRN-GOOD", number=1), b"nothing", ct("MRN-GOOD", number=2))
    assert answer.status_code == 202
    assert settled(node)["archive"]["instances"] == before + 2


def test_a_clinical_table_with_persons_unknown_to_the_images_waits_for_them(node: Service, tmp_path: Path) -> None:
    row = "MRN-LATER,,F,1960-01-02,C61.9,8140/3,2024-03-01,,,alive\n"
    (tmp_path / "t.csv").write_text(HEADER + row)
    done = carina("node", "clinical", "import", node.folder, tmp_path / "t.csv", "--project", "lung")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 of these persons have no images here yet; their rows wait for them." in done.stdout

    def found() -> tuple[int, int]:
        with open_node(node.folder) as opened, opened.engine.connect() as connection:
            return cohort.count(connection, [ProjectId("lung")], OneOf("diagnosis", ("C61",)))

    assert found() == (0, 0)
    assert stow(node, ct("MRN-LATER")).status_code == 200
    settled(node)
    assert found() == (1, 1)


# --- keys, ports, folders ---------------------------------------------------------------------------------------------


def test_a_wrong_key_stops_the_start_and_the_back_up_heals_it(tmp_path: Path) -> None:
    site = new_node(tmp_path)
    keys, backup = tmp_path / "node.json", tmp_path / "backup.json"
    shutil.copy(keys, backup)
    found_node(tmp_path / "other", tmp_path / "other.json", NewNode("Other", "Other", "NL"))
    shutil.copy(tmp_path / "other.json", keys)
    said = complaint(carina("node", "serve", site.folder), 78)
    assert "is not the one these records were made with" in said and "back-up in place" in said
    keys.unlink()
    assert "Put its back-up in place" in complaint(carina("node", "serve", site.folder), 78)
    shutil.copy(backup, keys)
    assert carina("node", "audit", site.folder).returncode == 0


@pytest.mark.parametrize(("kind", "place"), [("node", 0), ("node", 1), ("node", 2), ("hub", 0), ("hub", 1)])
def test_a_port_in_use_is_named_and_the_start_ends_with_75(tmp_path: Path, kind: str, place: int) -> None:
    service = new_node(tmp_path) if kind == "node" else new_hub(tmp_path)
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", service.ports[place]))
        held.listen()
        said = complaint(carina(kind, "serve", service.folder), 75)
    assert str(service.ports[place]) in said and "port" in said.lower() and said.count(".") >= 2


def test_a_second_server_on_the_same_folder_is_refused(node: Service) -> None:
    assert "already runs on this folder" in complaint(carina("node", "serve", node.folder), 75)


# --- the disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 44 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=44m", "none", str(place)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system of its own cannot be mounted here; the superuser may")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_told_to_every_sender_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    site = new_node(small_disk)
    (tmp_path / "late.dcm").write_bytes(ct("MRN-LATE"))
    with serving(site):
        first = [ct("MRN-FULL", number=number, size=512) for number in range(4)]
        assert stow(site, *first).status_code == 200
        assert settled(site)["archive"]["instances"] == 4
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 65536)
        refused = stow(site, ct("MRN-LATE"))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "120")
        assert "no room left" in refused.json()["detail"] and "send it again" in refused.json()["hint"]
        assert c_store(site, ct("MRN-LATE")) == 0xA700
        command = ("node", "ingest", site.folder, tmp_path / "late.dcm", "--source", "/nowhere/inbox")
        assert "no room left" in complaint(carina(*command), 74)
        assert answers(f"{site.url}/health/live")
        filler.unlink()
        assert stow(site, ct("MRN-LATE")).status_code == 200
        assert settled(site)["archive"] == {"patients": 2, "studies": 2, "series": 2, "instances": 5}
        assert "Traceback" not in site.log
    with open_node(site.folder) as opened:
        assert opened.spool.names() == []
        assert opened.audit.verify() > 0


def c_store(site: Service, data: bytes) -> int:
    """The status of a C-STORE."""
    path = site.folder.parent.parent / "send.dcm"
    path.write_bytes(data)
    _config.STORE_SEND_CHUNKED_DATASET = True
    sender = AE("SCANNER")
    sender.add_requested_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
    association = sender.associate("127.0.0.1", site.ports[2], ae_title="CARINA")
    try:
        return int(association.send_c_store(path).Status)
    finally:
        association.release()


def test_a_file_that_grows_too_large_for_its_quota_is_not_acknowledged(tmp_path: Path) -> None:
    """As `ulimit -f` or a quota does: the write itself fails, amid the file."""
    site = new_node(tmp_path)
    limit = 4 * 2**20
    with serving(site) as process:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (limit, limit))
        refused = stow(site, ct("MRN-LARGE", size=2048))
        assert refused.status_code == 503 and "no room left" in refused.json()["detail"]
        assert stow(site, ct("MRN-SMALL")).status_code == 200
        assert settled(site)["archive"]["instances"] == 1
    with open_node(site.folder) as opened:
        assert opened.spool.names() == []
    assert list((site.folder / "spool").iterdir()) == []


# --- the hub ----------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_said_on_the_page_to_programs_and_on_the_command_line(hub: Service) -> None:
    page = {"Accept": "text/html", "Origin": hub.url}
    with httpx2.Client(base_url=hub.url, trust_env=False, timeout=20) as browser:
        form = browser.get("/sign-in", headers=page).text
        typed = {"name": "rosa", "password": "wrong password", "csrf": csrf(form), "next": "/"}
        answer = browser.post("/sign-in", data=typed, headers=page)
        assert answer.status_code == 401
        assert "Name or password is wrong." in answer.text
        answer = browser.post("/api/session", json={"name": "rosa", "password": "wrong password"})
        assert (answer.status_code, answer.json()["error"]) == (401, "sign-in-failed")
        assert "operator can set a new password" in answer.json()["hint"]
    with pytest.raises(SignInFailed):
        connect(hub.url, account="rosa", password="wrong password")
    typed_there = {"CARINA_PASSWORD": "wrong password", "CARINA_CONFIG": str(hub.folder.parent / "config")}
    assert "Name or password is wrong." in complaint(carina("login", hub.url, "--account", "rosa", **typed_there), 77)
    with connect(hub.url, account="rosa", password=PASSWORD) as client:
        assert client.datasets() == []
    assert "wrong password" not in hub.log


def test_no_hub_is_said_to_researchers_and_to_nodes(tmp_path: Path) -> None:
    gone, site = new_hub(tmp_path), new_node(tmp_path)
    with pytest.raises(Unreachable), connect(gone.url) as client:
        client.datasets()
    assert "Check that it runs" in complaint(carina("datasets", gone.url), 69)
    with open_hub(gone.folder) as opened:
        invitation = invite(opened, 1)
    assert "does not answer" in complaint(carina("node", "join", site.folder, invitation), 69)
    with serving(gone):  # the invitation is still good
        assert carina("node", "join", site.folder, invitation).returncode == 0
    with serving(site):  # a node whose hub is gone goes on receiving
        assert stow(site, ct()).status_code == 200
        assert settled(site)["archive"]["instances"] == 1


def test_an_invitation_is_good_once_and_at_its_own_hub_only(hub: Service, tmp_path: Path) -> None:
    one, two = new_node(tmp_path, "one"), new_node(tmp_path, "two")
    invitation = carina("hub", "invite", hub.folder).stdout.strip()
    assert "Joined Test hub" in carina("node", "join", one.folder, invitation).stdout
    said = complaint(carina("node", "join", two.folder, invitation), 65)
    assert "used before" in said and "Ask the hub's operator" in said
    other = new_hub(tmp_path, "other", url=hub.url)  # says that it is at the first one's address
    foreign = carina("hub", "invite", other.folder).stdout.strip()
    said = complaint(carina("node", "join", two.folder, foreign), 65)
    assert "another hub's" in said
    assert settled(two)["hubs"] == []
    fresh = carina("hub", "invite", hub.folder).stdout.strip()
    assert carina("node", "join", two.folder, fresh).returncode == 0
