"""`carina node doctor`: each fault is caused for real, and it is found, explained, and told by the exit code."""

from __future__ import annotations

import datetime
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import update
from tests.reviewing import hold, ultrasound
from tests.support import ct
from tests.unit.cli.conftest import Run

from carina.app import surroundings
from carina.app.processes import only_one
from carina.app.site import open_node
from carina.cli.node_doctor import doctor
from carina.model.clock import now
from carina.model.instance import Source
from carina.node import worker
from carina.node.ingest import receive
from carina.settings import write_new_keys
from carina.storage.database import open_engine
from carina.storage.schema import node_tables


def edit(node: Path, old: str, new: str) -> None:
    text = (node / "node.toml").read_text()
    assert old in text
    (node / "node.toml").write_text(text.replace(old, new, 1))


def told(run: Run, node: Path, code: int) -> str:
    said = run("node", "doctor", node)
    assert said.code == code, said
    return said.output


def test_a_node_as_it_was_made_is_well_and_nothing_in_it_is_changed(run: Run, node: Path) -> None:
    before = sorted(path.name for path in node.iterdir())
    said = run("node", "doctor", node, "--json")
    found = json.loads(said.output)
    assert said.code == 0 and found["state"] in ("good", "warn")
    names = [part["name"] for part in found["parts"]]
    assert {"settings", "folder", "disk", "keys", "records", "workers", "quarantine", "hub", "server"} <= set(names)
    assert all(part["hint"] for part in found["parts"] if part["state"] != "good")
    assert [path for path in sorted(path.name for path in node.iterdir()) if "-" not in path] == before
    assert doctor.help is not None and "Nothing is changed" in doctor.help


def _forget_keys(node: Path) -> None:
    edit(node, 'keys = "file:', 'keys = "file:/nowhere')


def _open_keys(node: Path) -> None:
    _other_keys(node)
    (node.parent / "other.json").chmod(0o644)


def _other_keys(node: Path) -> None:
    write_new_keys(node.parent / "other.json")
    text = (node / "node.toml").read_text().splitlines()
    lines = ['keys = "file:../other.json"' if line.startswith("keys = ") else line for line in text]
    (node / "node.toml").write_text("\n".join(lines))


def _unknown_setting(node: Path) -> None:
    edit(node, "[inside]", "[insides]")


def _no_records(node: Path) -> None:
    (node / "records.sqlite").unlink()


def _other_records(node: Path) -> None:
    _sql(node, "UPDATE alembic_version SET version_num = 'r9999_later'")


def _sql(node: Path, command: str) -> None:
    engine = open_engine(node / "records.sqlite")
    with engine.begin() as connection:
        connection.exec_driver_sql(command)
    engine.dispose()


def _broken_records(node: Path) -> None:
    (node / "records.sqlite").write_bytes(b"This is no database. " * 400)


def _proxy(node: Path) -> None:
    edit(node, "#console_url", 'console_url = "https://console.localhost"\n#console_url')


def _plain(node: Path) -> None:
    edit(node, "#public_url", 'public_url = "http://192.0.2.1"\n#public_url')


def _off_loopback(node: Path) -> None:
    edit(node, 'host = "127.0.0.1"', 'host = "0.0.0.0"')


def _no_project(node: Path) -> None:
    edit(node, 'project = "lung"', 'project = "heart"')


def _bad_profile(node: Path) -> None:
    edit(node, 'profile = "basic"', 'profile = "gentle"')


def _no_database(node: Path) -> None:
    edit(node, "#records", 'records = "postgresql+psycopg://nobody@127.0.0.1:9/none"\n#records')


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (_unknown_setting, "insides"),
        (_forget_keys, "cannot be read"),
        (_open_keys, "chmod 600"),
        (_other_keys, "not those of these records"),
        (_no_records, "records.sqlite is missing"),
        (_other_records, "another version"),
        (_broken_records, "cannot be used as a database"),
        (_proxy, "no proxy is named"),
        (_plain, "without TLS"),
        (_off_loopback, "listens off this machine"),
        (_no_project, "names the project 'heart'"),
        (_bad_profile, "profile of project 'lung'"),
        (_no_database, "records"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_a_fault_is_found_and_explained(run: Run, node: Path, cause: Callable[[Path], None], words: str) -> None:
    cause(node)
    said = told(run, node, 1)
    assert "TROUBLE" in said and words in said, said


def test_a_folder_that_others_may_read_and_a_source_that_is_gone_want_a_look(run: Run, node: Path) -> None:
    node.chmod(0o755)
    said = told(run, node, 0)
    assert "chmod 700" in said and "of the sources in node.toml is not there" in said


def test_ports_that_others_have_and_a_server_that_does_not_listen_are_told_apart(run: Run, node: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        edit(node, "port = 0", f"port = {number}")
        assert "Another program has" in told(run, node, 1)
    with only_one(node):
        said = told(run, node, 1)
    assert "does not answer" in said and "nothing listens on" in said


def test_what_waits_is_told_with_its_reason_and_what_to_do(run: Run, node: Path) -> None:
    with open_node(node) as opened:
        receive(opened, ct("MRN-1"), Source("aet", "STRANGER"))
        while worker.work(opened, "test"):
            pass
    said = told(run, node, 0)
    assert "1 wait as unmapped-source" in said, said[800:2200]
    assert "STRANGER" not in said


def test_while_a_server_runs_the_console_s_overview_is_told_too(run: Run, node: Path) -> None:
    assert "overview" not in told(run, node, 0), "no server runs"
    with only_one(node):
        assert "The console's overview has nothing else that wants anybody." in told(run, node, 0)
        with open_node(node) as opened:
            hold(opened, ultrasound(1), source=Source("aet", "SCANNER"))
            rows = node_tables.tables["audit"]
            with opened.engine.begin() as connection:
                connection.execute(update(rows).where(rows.c.seq == 1).values(actor="mallory"))
        said = told(run, node, 1)
        assert (
            "Audit trail: The audit trail is broken at row 1" in said and "Reviews: 1 image waits for a reader." in said
        )
        assert "nothing else" not in said and said.count("wait as text-in-pixels") == 1
    assert "Audit trail" not in told(run, node, 0)


@pytest.mark.parametrize(("days", "word", "code"), [(400, "good until", 0), (10, "ends on", 0), (-2, "ended on", 1)])
def test_a_certificate_that_ends_is_told(run: Run, node: Path, days: int, word: str, code: int) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    end = now() + datetime.timedelta(days=days)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, end - datetime.timedelta(days=90), end)
    (node / "dimse.pem").write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (node / "dimse.key").write_bytes(pem)
    with (node / "node.toml").open("a") as file:
        file.write('\n[dimse.tls]\ncertificate = "dimse.pem"\nkey = "dimse.key"\n')
    assert word in told(run, node, code)
    (node / "dimse.key").write_text("no key")
    assert "cannot be read" in told(run, node, 1)


def test_a_clock_few_files_and_a_silent_hub_are_told() -> None:
    past = datetime.datetime(1999, 1, 1, tzinfo=datetime.UTC)
    assert surroundings.clock(past).state == "bad"
    assert surroundings.open_files(256).state == "warn" and surroundings.open_files(65536).state == "good"
    [silent] = surroundings.hub_answers("http://hub.localhost:9")
    assert silent.state == "bad" and "Nothing answers" in silent.sentence
    assert surroundings.resolves("no-such-name.invalid") is False


def test_a_disk_is_known_by_its_kind(tmp_path: Path) -> None:
    assert surroundings.file_system(tmp_path) not in ("", *surroundings.NETWORKS)
    assert surroundings.disk(tmp_path / "not" / "yet")[0].state in ("good", "warn")
    assert shutil.disk_usage(tmp_path).free and list(tmp_path.iterdir()) == []
