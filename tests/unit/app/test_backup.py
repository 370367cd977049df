"""Back-ups of a node: they come back whole, or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import select, update
from tests import postgres
from tests.support import ct

from carina.app.export import PINS, drop_pins, export_node
from carina.app.found import NewNode, found_node
from carina.app.import_ import import_node
from carina.app.site import open_node
from carina.errors import BadInput, Busy, Conflict, NotFound, WrongKey
from carina.model.clock import now, stamp
from carina.model.instance import Source
from carina.node import discarded, ingest, quarantine, worker
from carina.node.forget import forget, marks_of
from carina.node.recovery import recover
from carina.node.verify import verify
from carina.settings import write_new_keys
from carina.storage import arrivals
from carina.storage.schema import instances, node_tables
from carina.storage.schema import quarantine as held

SENDER = Source("aet", "SCANNER")
NEW = NewNode("Test", "Hospital Ficticio", "ES", sources=(("aet", "SCANNER"),), dimse_port=None)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folder of a node with two persons' images, one image in quarantine and one that waits."""
    folder = tmp_path / "node"
    found_node(folder, tmp_path / "keys" / "node.json", NEW)
    with open_node(folder) as node:
        for patient in ("MRN-1", "MRN-2"):
            for number in (1, 2):
                ingest.receive(node, ct(patient, number=number), SENDER)
        ingest.receive(node, b"no DICOM at all", SENDER)
        while worker.work(node, "test"):
            pass
        ingest.receive(node, ct("MRN-3"), SENDER)
    return folder


def tables(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables, those of people who are signed in and the trail apart."""
    with open_node(folder) as node, node.engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in node_tables.sorted_tables
            if table.name not in ("sessions", "attempts", "visits", "audit", "audit_head")
        }


def files(folder: Path) -> dict[str, bytes]:
    """All files of a node but the records and the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(("records.", "server.lock", "way-back"))
    }


def test_a_node_comes_back_from_its_back_up_as_it_was(site: Path, tmp_path: Path) -> None:
    made = export_node(site, tmp_path / "one.tar")
    assert (made.files, made.sealed, made.absent, made.damaged) == (4, 2, [], [])
    back = import_node(tmp_path / "one.tar", tmp_path / "back")
    assert back.verified.whole and back.forgotten.nothing and not back.known
    assert files(tmp_path / "back") == files(site)
    assert tables(tmp_path / "back") == tables(site)
    with open_node(tmp_path / "back") as node:
        rows = node.audit.verify()
        assert node.audit.entries(1)[0].action == "node-imported"
        assert worker.work(node, "test")  # what waited goes on
        assert node.audit.verify() > rows
    with tarfile.open(tmp_path / "one.tar") as tar:  # what any tar program sees
        assert tar.getnames()[-1] == "MANIFEST" and "node.toml" in tar.getnames()


@pytest.mark.parametrize("way", ["to", "back"])
def test_records_go_from_one_kind_of_database_to_the_other(site: Path, tmp_path: Path, way: str) -> None:
    folder = postgres.cluster()
    postgres.create(folder, "carina_import")
    try:
        export_node(site, tmp_path / "one.tar")
        import_node(tmp_path / "one.tar", tmp_path / "to", records=postgres.address_of(folder, "carina_import"))
        assert tables(tmp_path / "to") == tables(site)
        if way == "back":
            export_node(tmp_path / "to", tmp_path / "two.tar")
            import_node(tmp_path / "two.tar", tmp_path / "back", records="")
            assert tables(tmp_path / "back") == tables(site)
            with open_node(tmp_path / "back") as node:
                assert node.engine.dialect.name == "sqlite" and verify(node).whole
        with pytest.raises(Conflict, match="records in this database"):
            import_node(tmp_path / "one.tar", tmp_path / "again", records=postgres.address_of(folder, "carina_import"))
        assert not (tmp_path / "again").exists()
        with open_node(tmp_path / "to") as node:  # sequences go on after what was put in
            with node.engine.begin() as connection:
                for bucket in ("a", "b"):
                    connection.execute(node_tables.tables["attempts"].insert(), {"bucket": bucket, "at": "now"})
            assert worker.work(node, "test")
    finally:
        postgres.drop_all(folder)


def test_who_was_forgotten_since_the_back_up_stays_forgotten(site: Path, tmp_path: Path) -> None:
    export_node(site, tmp_path / "one.tar")
    with open_node(site) as node:
        forget(node, "ana", marks_of(node, "MRN-1") | marks_of(node, "MRN-3"))
    back = import_node(tmp_path / "one.tar", tmp_path / "back")
    assert back.forgotten.instances == 2 and back.forgotten.received == 1
    with open_node(tmp_path / "back") as node, node.engine.connect() as connection:
        assert len(connection.execute(select(instances)).all()) == 2
        assert verify(node).whole and node.spool.names() == []


def test_a_later_back_up_has_only_what_is_new_and_needs_the_earlier_ones(site: Path, tmp_path: Path) -> None:
    export_node(site, tmp_path / "one.tar")
    with open_node(site) as node:
        ingest.receive(node, ct("MRN-4"), SENDER)
        while worker.work(node, "test"):
            pass
    made = export_node(site, tmp_path / "two.tar", tmp_path / "one.tar")
    assert (made.files, made.earlier) == (6, 4)
    export_node(site, tmp_path / "three.tar", tmp_path / "two.tar")
    with pytest.raises(BadInput, match="made since another one"):
        import_node(tmp_path / "three.tar", tmp_path / "back", [tmp_path / "two.tar"])
    back = import_node(tmp_path / "three.tar", tmp_path / "back", [tmp_path / "one.tar", tmp_path / "two.tar"])
    assert back.files == 6 and tables(tmp_path / "back") == tables(site)


def test_other_keys_are_refused_and_named(site: Path, tmp_path: Path) -> None:
    export_node(site, tmp_path / "one.tar")
    write_new_keys(tmp_path / "other.json")
    with pytest.raises(WrongKey):
        import_node(tmp_path / "one.tar", tmp_path / "back", keys=tmp_path / "other.json")
    moved = tmp_path / "moved.json"
    moved.write_bytes((tmp_path / "keys" / "node.json").read_bytes())
    moved.chmod(0o600)
    (tmp_path / "keys" / "node.json").unlink()
    assert import_node(tmp_path / "one.tar", tmp_path / "back", keys=moved).verified.whole


def test_a_back_up_without_its_end_or_with_another_byte_is_refused(site: Path, tmp_path: Path) -> None:
    export_node(site, tmp_path / "one.tar")
    data = (tmp_path / "one.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        places = [member.offset_data for member in tar.getmembers() if member.size]
    broken = [data[:-1], data[:-512], data[: len(data) // 2], b"", data + b"x", data[512:]]
    broken += [data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in places]
    for number, changed in enumerate(broken):
        (tmp_path / "bad.tar").write_bytes(changed)
        with pytest.raises((BadInput, WrongKey)):
            import_node(tmp_path / "bad.tar", tmp_path / "back")
        assert sorted(path.name for path in tmp_path.glob("*back*")) == [], number


def _tar(path: Path, *members: tuple[str, bytes, bytes]) -> None:
    """A tar of members (name, type, data)."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, data in members:
            about = tarfile.TarInfo(name)
            about.type, about.size, about.linkname = kind, len(data), "/etc/passwd" if kind != tarfile.REGTYPE else ""
            tar.addfile(about, BytesIO(data))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../evil", tarfile.REGTYPE),
        ("/etc/evil", tarfile.REGTYPE),
        ("store/../../evil", tarfile.REGTYPE),
        ("store/ab/" + "ab" * 32 + ".dcm", tarfile.REGTYPE),
        ("spool/.new-x", tarfile.REGTYPE),
        ("records.sqlite", tarfile.REGTYPE),
        ("node.toml", tarfile.SYMTYPE),
        ("spool/a", tarfile.LNKTYPE),
        ("spool", tarfile.DIRTYPE),
        ("spool/fifo", tarfile.FIFOTYPE),
        ("x" * 300, tarfile.REGTYPE),
    ],
)
def test_tricks_with_names_and_kinds_of_members_are_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    _tar(tmp_path / "bad.tar", (name, kind, b""), ("MANIFEST", tarfile.REGTYPE, b"x" * 200))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(BadInput):
        import_node(tmp_path / "bad.tar", tmp_path / "back")
    assert set(tmp_path.rglob("*")) == before


def test_an_import_goes_into_an_empty_place_only(site: Path, tmp_path: Path) -> None:
    export_node(site, tmp_path / "one.tar")
    with pytest.raises(Conflict):
        import_node(tmp_path / "one.tar", site)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict):
        import_node(tmp_path / "one.tar", tmp_path / "link")
    (tmp_path / "empty").mkdir()
    assert import_node(tmp_path / "one.tar", tmp_path / "empty").files == 4
    with pytest.raises(Conflict):
        export_node(site, tmp_path / "one.tar")
    with pytest.raises(BadInput):
        export_node(site, site / "inside.tar")


def test_what_was_wrong_when_the_back_up_was_made_is_told_and_comes_back_as_it_was(site: Path, tmp_path: Path) -> None:
    stored = sorted((site / "store").rglob("*.dcm"))
    stored[0].write_bytes(b"changed")
    stored[1].unlink()
    made = export_node(site, tmp_path / "one.tar")
    assert (made.damaged, made.absent) == ([stored[0].stem], [stored[1].stem])
    back = import_node(tmp_path / "one.tar", tmp_path / "back")
    assert {(one.kind, one.subject) for one in back.known} >= {("damaged", stored[0].stem), ("missing", stored[1].stem)}


def test_what_leaves_the_spool_during_an_export_is_in_it(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carina.app import export

    plain = export._records

    def busy(*arguments: object) -> object:
        with open_node(site) as node:  # another process's worker
            assert worker.work(node, "test") and node.spool.names() == []
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(export, "_records", busy)
    export_node(site, tmp_path / "one.tar")
    assert not list(site.rglob(PINS))
    import_node(tmp_path / "one.tar", tmp_path / "back")
    with open_node(tmp_path / "back") as node, node.engine.connect() as connection:
        assert len(connection.execute(select(instances)).all()) == 4
        assert worker.work(node, "test")
        assert len(connection.execute(select(instances)).all()) >= 4


_EXPORT = """
import sys
from pathlib import Path
from carina.app import export, import_
from carina.storage import backup
def slow(plain):
    def slowly(*arguments):
        sys.stdout.write("x"); sys.stdout.flush()
        import time; time.sleep(0.02)
        return plain(*arguments)
    return slowly
backup.BackupWriter.add = slow(backup.BackupWriter.add)
import_.extract = slow(import_.extract)
if sys.argv[1] == "export":
    export.export_node(Path(sys.argv[2]), Path(sys.argv[3]))
else:
    import_.import_node(Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.mark.parametrize("steps", [1, 20, 30])
@pytest.mark.parametrize("what", ["export", "import"])
def test_a_kill_leaves_nothing_that_looks_whole(site: Path, tmp_path: Path, what: str, steps: int) -> None:
    place = tmp_path / "place"
    source = site
    if what == "import":
        source = tmp_path / "one.tar"
        export_node(site, source)
    child = subprocess.Popen([sys.executable, "-c", _EXPORT, what, source, place], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read(steps)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not place.exists()
    if what == "export":
        drop_pins(site)
        assert not list(site.rglob(PINS))
        export_node(site, place)
        place = tmp_path / "back"
        import_node(tmp_path / "place", place)
    else:
        import_node(source, place)
    assert tables(place) == tables(site)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_two_exports_do_not_run_at_once(site: Path, tmp_path: Path) -> None:
    from carina.app.export import _pins

    with _pins(site), pytest.raises(Busy):
        export_node(site, tmp_path / "one.tar")
    export_node(site, tmp_path / "one.tar")


def _quarantined(folder: Path, patient: str, number: int = 1) -> str:
    """An image whose pixels nobody has searched; its id."""
    with open_node(folder) as node:
        one = ingest.receive(node, ct(patient, number=number, elements={"Modality": "US"}), SENDER).id
        while worker.work(node, "test"):
            pass
        return one


def test_what_is_discarded_and_can_be_taken_back_is_so_in_the_back_up_too(site: Path, tmp_path: Path) -> None:
    kept, late, gone = (_quarantined(site, "MRN-7", number) for number in (1, 2, 3))
    with open_node(site) as node:
        quarantine.discard(node, "ana", ids=[kept, late, gone])
        discarded.destroy(node, "ana", [gone])
        files = {one: node.quarantine.read(one) for one in (kept, late)}
    export_node(site, tmp_path / "one.tar")
    import_node(tmp_path / "one.tar", tmp_path / "back", keys=tmp_path / "keys" / "node.json")
    with open_node(tmp_path / "back") as node:
        assert {one: node.quarantine.read(one) for one in (kept, late)} == files and gone not in node.quarantine.names()
        with node.engine.begin() as connection:  # the back-up has lain about for a day, for one of them
            over = {"discarded_at": stamp(now() - quarantine.GRACE - timedelta(seconds=1))}
            connection.execute(update(held).where(held.c.id == late).values(**over))
        for one in (late, gone):
            with pytest.raises(NotFound):
                quarantine.restore(node, "ana", ids=[one])
        recover(node)
        assert quarantine.restore(node, "ana", ids=[kept]) == 1
        discarded.sweep(node)
        assert late not in node.quarantine.names() and kept in node.quarantine.names()
        assert verify(node).findings == []


def test_who_was_forgotten_since_does_not_come_back_by_what_was_discarded(site: Path, tmp_path: Path) -> None:
    """Discarded, rejected by a reader, and taken back: none of these is a way around."""
    first, second, third = (_quarantined(site, "MRN-8", number) for number in (1, 2, 3))
    with open_node(site) as node:
        quarantine.discard(node, "ana", ids=[first, second])
        quarantine.restore(node, "ana", ids=[second])
        quarantine.retry(node, "ana", ids=[third])  # given back, and not taken up yet
    export_node(site, tmp_path / "one.tar")
    with open_node(site) as node:
        forget(node, "ana", marks_of(node, "MRN-8"))
    import_node(tmp_path / "one.tar", tmp_path / "back", keys=tmp_path / "keys" / "node.json")
    for folder in (site, tmp_path / "back"):
        with open_node(folder) as node:
            assert not {first, second, third} & {*node.quarantine.names(), *node.spool.names()}
            recover(node)
            with pytest.raises(NotFound):
                quarantine.restore(node, "ana", ids=[first])
            with pytest.raises(NotFound):
                quarantine.retry(node, "ana", ids=[second])
            while worker.work(node, "test"):
                pass
            with node.engine.connect() as connection:
                known = {one: arrivals.get(connection, one).state for one in (first, second, third)}
            assert set(known.values()) == {"forgotten"}
            assert verify(node).findings == []
