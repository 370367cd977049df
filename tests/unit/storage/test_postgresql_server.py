"""Records in a real PostgreSQL: the promises of `storage.database` that are not the same code as SQLite's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from threading import Event, Thread

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, func, inspect, select, text
from tests import postgres
from tests.stored import clean, index

from carina.errors import BadSettings, Busy, Full, WrongKey
from carina.model.keys import KeyRing
from carina.storage import postgresql
from carina.storage.audit import AuditTrail
from carina.storage.database import TABLES, Role, check_keys, open_engine, upgrade
from carina.storage.schema import instances, node_tables, studies

attempts = node_tables.tables["attempts"]
RING = KeyRing(b"p" * 32, b"s" * 32, b"g" * 32, b"r" * 32)


@pytest.fixture
def address() -> Iterator[str]:
    """Of an empty database."""
    folder = postgres.cluster()
    postgres.create(folder, "carina_server")
    yield postgres.address_of(folder, "carina_server")
    postgres.drop_all(folder)


@pytest.fixture
def engine(address: str) -> Iterator[Engine]:
    engine = open_engine(address)
    upgrade(engine, "node")
    yield engine
    engine.dispose()


@pytest.mark.parametrize("role", ["node", "hub"])
def test_migrations_from_nothing_make_exactly_the_tables_of_the_schema(address: str, role: Role) -> None:
    engine = open_engine(address)
    upgrade(engine, role)
    upgrade(engine, role)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), TABLES[role]) == []
        assert set(inspect(connection).get_table_names()) == {*TABLES[role].tables, "alembic_version"}
    engine.dispose()


def test_threads_may_make_the_same_records_at_once(address: str) -> None:
    failed: list[BaseException] = []

    def make() -> None:
        engine = open_engine(address)
        try:
            upgrade(engine, "node")
        except BaseException as error:
            failed.append(error)
        engine.dispose()

    threads = [Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_what_a_writer_reads_cannot_change_before_it_writes(engine: Engine, address: str) -> None:
    number = select(func.count()).select_from(attempts)

    def add(engine: Engine) -> None:
        for _ in range(20):
            with engine.begin() as connection:
                here = connection.execute(number).scalar_one()
                connection.execute(attempts.insert(), {"bucket": str(here), "at": "now"})

    engines = [engine, open_engine(address), open_engine(address)]
    threads = [Thread(target=add, args=(one,)) for one in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        buckets = connection.execute(select(attempts.c.bucket).order_by(attempts.c.id)).scalars().all()
    assert buckets == [str(number) for number in range(60)]
    for one in engines[1:]:
        one.dispose()


def test_many_workers_may_take_in_the_same_study_at_once(engine: Engine) -> None:
    failed: list[BaseException] = []

    def take(first: int) -> None:
        try:
            for number in range(first, first + 10):
                with engine.begin() as connection:
                    index(connection, clean(number, series=number % 3))
                    AuditTrail(engine).append("archived", "worker", connection=connection)
        except BaseException as error:
            failed.append(error)

    threads = [Thread(target=take, args=(start,)) for start in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with engine.connect() as connection:
        assert connection.execute(select(studies.c.instance_count)).scalar_one() == 40
        assert connection.execute(select(func.count()).select_from(instances)).scalar_one() == 40
    assert AuditTrail(engine).verify() == 40


def test_a_reader_does_not_wait_for_a_writer_and_sees_one_moment(engine: Engine) -> None:
    number = select(func.count()).select_from(attempts)
    with engine.connect() as reader:
        assert reader.execute(number).scalar_one() == 0
        with engine.begin() as writer:
            writer.execute(attempts.insert(), {"bucket": "a", "at": "now"})
            with engine.connect() as other:
                assert other.execute(number).scalar_one() == 0
        assert reader.execute(number).scalar_one() == 0
    with engine.connect() as reader:
        assert reader.execute(number).scalar_one() == 1


def test_a_writer_that_never_ends_is_said_so(address: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "_PATIENCE", 0.05)
    monkeypatch.setattr(postgresql, "_with_options", lambda _address: "-c lock_timeout=50")
    other, holds, done = open_engine(address), Event(), Event()

    def hold() -> None:
        with engine.begin():
            holds.set()
            done.wait(20)

    thread = Thread(target=hold)
    thread.start()
    holds.wait()
    with pytest.raises(Busy), other.begin():
        pass
    done.set()
    thread.join()
    other.dispose()


def test_a_server_that_is_gone_or_refuses_is_said_so_without_the_drivers_words(address: str) -> None:
    for wrong, kind in (
        (address.replace("host=", "host=/nowhere"), Busy),
        (address.replace("carina_server", "carina_no_such"), BadSettings),
        (address.replace("postgres@", "nobody@"), BadSettings),
    ):
        engine = open_engine(wrong)
        with pytest.raises(kind) as caught, engine.connect():
            pass
        assert "nobody" not in caught.value.message and "/" not in caught.value.message
        engine.dispose()


def test_connections_that_the_server_ended_are_made_anew(engine: Engine) -> None:
    with engine.connect() as one:
        pid = one.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with psycopg.connect(host=str(postgres.cluster()), user="postgres", dbname="postgres", autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
    with engine.begin() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid


@pytest.mark.parametrize(
    ("state", "kind"), [("53100", Full), ("55P03", Busy), ("40P01", Busy), ("57P01", Busy), ("42501", BadSettings)]
)
def test_what_the_server_says_becomes_what_a_person_can_act_on(state: str, kind: type[Exception]) -> None:
    assert isinstance(postgresql.explained_error(psycopg.errors.lookup(state)("a value")), kind)


def test_a_fault_of_our_own_is_not_explained_away() -> None:
    assert postgresql.explained_error(psycopg.errors.SyntaxError("x")) is None
    assert postgresql.explained_error(ValueError("x")) is None


def test_text_with_the_one_character_that_postgresql_lacks_is_kept_without_it(engine: Engine) -> None:
    header = {"00081030": {"vr": "LO", "Value": ["a\0b", "\ud800", "é"]}}
    with engine.begin() as connection:
        index(connection, clean(), study=header, manufacturer="SIE\0MENS")
        row = connection.execute(select(studies.c.header)).scalar_one()
        assert row["00081030"] == header["00081030"]
        assert connection.execute(text("SELECT manufacturer FROM series")).scalar_one() == "SIE\ufffdMENS"


def test_a_header_of_any_length_and_number_fits_the_columns(engine: Engine) -> None:
    series = {"00200011": {"vr": "IS", "Value": [10**12]}}
    with engine.begin() as connection:
        index(connection, clean(), manufacturer="x" * 10_000, series=series, size=10**12)


def test_another_key_is_recognised(engine: Engine) -> None:
    check_keys(engine, RING)
    with pytest.raises(WrongKey, match="'storage'"):
        check_keys(engine, KeyRing(**{**vars(RING), "storage": b"a secret thirty-two bytes long!!"}))


@pytest.mark.parametrize(
    "address", ["postgresql://host/records", "postgresql+psycopg2://host/records", "mysql://host/x"]
)
def test_another_driver_is_refused_with_the_one_to_name(address: str) -> None:
    with pytest.raises(BadSettings) as caught:
        open_engine(address)
    assert "postgresql+psycopg://" in caught.value.hint or "SQLite or PostgreSQL" in caught.value.message


def test_a_missing_driver_is_said_so_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadSettings) as caught:
        open_engine("postgresql+psycopg://host/records")
    assert "carina[node,postgresql]" in caught.value.hint
