import sqlite3
import stat
from pathlib import Path
from threading import Thread

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, inspect, select, text
from tests.stored import process, records

from carina.errors import BadSettings, Busy, Full, WrongKey
from carina.model.keys import KeyRing
from carina.storage import database
from carina.storage.audit import AuditTrail
from carina.storage.database import TABLES, Role, check_keys, open_engine, upgrade
from carina.storage.schema import node_tables

ROLES: list[Role] = ["node", "hub"]
RING = KeyRing(b"p" * 32, b"s" * 32, b"g" * 32, b"r" * 32)
attempts = node_tables.tables["attempts"]


@pytest.mark.parametrize("role", ROLES)
def test_migrations_from_nothing_make_exactly_the_tables_of_the_schema(tmp_path: Path, role: Role) -> None:
    with records(tmp_path, role) as engine, engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, TABLES[role]) == []
        made = set(inspect(connection).get_table_names())
        assert made == {*TABLES[role].tables, "alembic_version"}


@pytest.mark.parametrize("role", ROLES)
def test_an_upgrade_may_be_repeated_and_keeps_what_is_there(tmp_path: Path, role: Role) -> None:
    with records(tmp_path, role) as engine:
        AuditTrail(engine).append("started", "test")
        upgrade(engine, role)
        assert AuditTrail(engine).verify() == 1


def test_processes_may_make_the_same_records_at_once(tmp_path: Path) -> None:
    code = """
from carina.storage.database import open_engine, upgrade
upgrade(open_engine(folder / "records.sqlite"), "node")
"""
    makers = [process(code, tmp_path) for _ in range(3)]
    assert [maker.communicate(timeout=60)[1] for maker in makers] == [""] * 3
    with records(tmp_path) as engine:
        assert AuditTrail(engine).verify() == 0


def test_a_hubs_records_are_not_opened_as_a_nodes(tmp_path: Path) -> None:
    with records(tmp_path, "hub") as engine, pytest.raises(BadSettings, match="not records of a node"):
        upgrade(engine, "node")


def test_records_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    with records(tmp_path) as engine:
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = 'node_9999'"))
        with pytest.raises(BadSettings, match="this version of Carina"):
            upgrade(engine, "node")


def test_records_are_for_their_owner_only(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "new" / "node" / "records.sqlite")
    upgrade(engine, "node")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        files = list((tmp_path / "new" / "node").iterdir())
        assert len(files) >= 2
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE((tmp_path / "new" / "node").stat().st_mode) == 0o700
    engine.dispose()


def test_every_connection_commits_to_the_disk_and_keeps_references(tmp_path: Path) -> None:
    with records(tmp_path) as engine, engine.connect() as one, engine.connect() as two:
        for connection in (one, two):
            values = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in PRAGMAS]
            assert values == ["wal", 2, 1, 30_000]


PRAGMAS = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")


def test_a_reader_does_not_wait_for_a_writer_and_sees_what_was_committed(tmp_path: Path) -> None:
    number = select(func.count()).select_from(attempts)
    with records(tmp_path) as engine, engine.begin() as writer:
        writer.execute(attempts.insert(), {"bucket": "a", "at": "now"})
        with engine.connect() as reader:
            assert reader.execute(number).scalar_one() == 0


def test_what_a_writer_reads_cannot_change_before_it_writes(tmp_path: Path) -> None:
    number = select(func.count()).select_from(attempts)

    def add(engine: object) -> None:
        for _ in range(20):
            with engine.begin() as connection:  # type: ignore[attr-defined]
                here = connection.execute(number).scalar_one()
                connection.execute(attempts.insert(), {"bucket": str(here), "at": "now"})

    engines = [open_engine(tmp_path / "records.sqlite") for _ in range(3)]
    upgrade(engines[0], "node")
    threads = [Thread(target=add, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engines[0].connect() as connection:
        buckets = connection.execute(select(attempts.c.bucket).order_by(attempts.c.id)).scalars().all()
    assert buckets == [str(number) for number in range(60)]
    for engine in engines:
        engine.dispose()


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with records(tmp_path) as engine:
        with pytest.raises(RuntimeError), engine.begin() as connection:
            connection.execute(attempts.insert(), {"bucket": "a", "at": "now"})
            raise RuntimeError
        with engine.connect() as connection:
            assert connection.execute(select(attempts)).all() == []


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    with records(tmp_path) as engine, pytest.raises(Full), engine.begin() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))
        for _ in range(100):
            connection.execute(attempts.insert(), {"bucket": "a" * 10_000, "at": "now"})


def test_a_writer_that_never_ends_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with records(tmp_path) as engine, engine.begin():
        monkeypatch.setattr(database, "_PRAGMAS", ("busy_timeout = 10",))
        other = open_engine(tmp_path / "records.sqlite")
        with pytest.raises(Busy), other.begin():
            pass
        other.dispose()


def test_a_file_that_is_no_database_is_said_so_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    path.write_bytes(b"not a database, though long enough to be looked at" * 50)
    engine = open_engine(path)
    with pytest.raises(BadSettings):
        upgrade(engine, "node")
    engine.dispose()
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("address", ["no address", "nosuch://host/records"])
def test_an_address_that_means_nothing_is_refused(address: str) -> None:
    with pytest.raises(BadSettings):
        open_engine(address)


def test_an_address_and_a_path_are_the_same_records(tmp_path: Path) -> None:
    with records(tmp_path / "50% done? yes"):
        pass
    folder = tmp_path / "plain"
    with records(folder) as engine:
        AuditTrail(engine).append("started", "test")
    engine = open_engine(f"sqlite:///{folder / 'records.sqlite'}")
    assert AuditTrail(engine).verify() == 1
    engine.dispose()
    assert (tmp_path / "50% done? yes" / "records.sqlite").stat().st_size > 0


@pytest.mark.parametrize("name", ["pseudonym", "storage", "signing", "permits"])
def test_another_key_is_recognised_and_named_but_not_shown(tmp_path: Path, name: str) -> None:
    other = KeyRing(**{**vars(RING), name: b"a secret thirty-two bytes long!!"})
    with records(tmp_path) as engine:
        check_keys(engine, RING)
        check_keys(engine, RING)
        with pytest.raises(WrongKey, match=f"'{name}'") as caught:
            check_keys(engine, other)
        assert "secret" not in caught.value.message + caught.value.hint
        check_keys(engine, RING)


def test_a_wrong_key_changes_nothing_that_is_kept(tmp_path: Path) -> None:
    with records(tmp_path) as engine:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO key_checks (name, \"check\") VALUES ('permits', 'another')"))
        with pytest.raises(WrongKey):
            check_keys(engine, RING)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT name FROM key_checks")).scalars().all() == ["permits"]


def test_this_sqlite_can_return_what_it_changed() -> None:
    assert sqlite3.sqlite_version_info >= (3, 35)
