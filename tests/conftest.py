"""Which tests run twice, with the records on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from pynetdicom.transport import AssociationSocket
from tests import postgres
from tests.records import ON_POSTGRESQL

ENGINES = ("sqlite", "postgresql")
ON_BOTH = {
    "unit/storage": {
        "test_accounts", "test_arrivals", "test_audit", "test_cohort", "test_index", "test_json_columns",
        "test_members", "test_search", "test_seen",
    },
    "unit/node": {
        "test_arriving", "test_forget", "test_ingest", "test_quarantine", "test_recovery", "test_verify", "test_worker",
    },
    "unit/hub": {"test_nodes"},
    "property": {"test_cohort_counts"},
}  # fmt: skip
SQLITE_ONLY = {
    "test_without_room_for_the_records",
    "sqlite", "test_no_secret_is_in_the_records", "test_records_hold_compact_text_with_letters_as_they_are",
    "test_the_first_member_is_found_without_reading_all", "test_no_condition_reads_a_whole_project_for_one_row",
    "test_the_tally_reads_an_index_only",
}  # fmt: skip
"""Words in the names of tests that are about SQLite's own files, types and plans."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have the tests of `ON_BOTH` run on each engine."""
    path = metafunc.definition.path
    names = next((names for folder, names in ON_BOTH.items() if path.parent.match(f"tests/{folder}")), set())
    if path.stem in names and not any(word in metafunc.function.__name__ for word in SQLITE_ONLY):
        metafunc.parametrize("records_engine", ENGINES, indirect=True, scope="module")


# Before all else of a module, whether or not a test names it: what a test's own fixtures make is made there too.
@pytest.fixture(scope="module", autouse=True)
def records_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where `tests.records` makes its records, while tests run: "sqlite" or "postgresql"."""
    engine = getattr(request, "param", "sqlite")
    if engine == "sqlite":
        yield engine
        return
    folder = postgres.cluster()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ON_POSTGRESQL, str(folder))
        yield engine
    postgres.drop_all(folder)


@pytest.fixture(autouse=True)
def _databases_of_the_test(records_engine: str) -> Iterator[None]:
    """Remove the databases that a test made, and leave those of its module."""
    if records_engine == "sqlite":
        yield
        return
    folder = postgres.cluster()
    before = set(postgres.databases(folder))
    yield
    postgres.drop(folder, set(postgres.databases(folder)) - before)


def _close_all(held: AssociationSocket) -> None:
    """Close a connection, whether or not its other end is still there."""
    sock = held.socket
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


@pytest.fixture(scope="session", autouse=True)
def _broken_connections_are_closed() -> Iterator[None]:
    """Have pynetdicom close a connection that its peer has left. It gives up when the shutdown fails, and leaves the
    socket to the collector of garbage, which would warn in whichever test runs then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssociationSocket, "_shutdown_socket", _close_all)
        yield
