"""What is promised of PostgreSQL without one at hand: every statement can be said in its words, and rows are locked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from tests.stored import LUNG, clean, diagnose, index, records

from carina.dicom.query import parse_query
from carina.model.cohort import All, AnyOf, Between, OneOf
from carina.model.instance import Source
from carina.storage import accounts, arrivals, cohort, search
from carina.storage.audit import AuditTrail
from carina.storage.hub_schema import hub_tables
from carina.storage.schema import node_tables

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def test_all_tables_can_be_made_on_postgresql() -> None:
    for metadata in (node_tables, hub_tables):
        for table in metadata.sorted_tables:
            assert str(CreateTable(table).compile(dialect=DIALECT))
            assert all(str(CreateIndex(one).compile(dialect=DIALECT)) for one in table.indexes)


def test_the_statements_of_a_node_s_work_can_be_said_on_postgresql_and_lock_what_two_workers_change(
    tmp_path: Path,
) -> None:
    said: list[str] = []

    def note(_connection: Any, statement: Any, *_: Any) -> None:
        said.append(str(statement.compile(dialect=DIALECT)))

    with records(tmp_path) as engine:
        event.listen(engine, "before_execute", note)
        audit = AuditTrail(engine)
        with engine.begin() as connection:
            arrivals.add(connection, "a1", Source("aet", "SCANNER"), 10)
            for number in (1, 2):
                index(connection, clean(number, sex="F", age_years=60))
            diagnose(connection, "PATIENT1", "C34.1")
            audit.append("archived", "worker", connection=connection)
        assert arrivals.claim(engine, "worker-1") is not None
        with engine.begin() as connection:
            assert arrivals.finish(connection, "a1", "archived")
        arrivals.release_claims(engine)
        arrivals.tally(engine), arrivals.progress(engine), audit.verify()
        accounts.add_account(engine, "ana", "correct horse battery", {"data-manager"})
        accounts.check_password(engine, "ana", "correct horse battery", "127.0.0.1")
        query = All((AnyOf((OneOf("modality", ("CT",)), OneOf("diagnosis", ("C34",)))), Between("age", 50, None)))
        with engine.connect() as connection:
            assert cohort.count(connection, [LUNG], query) == (1, 1)
            cohort.groups(connection, [LUNG], query), cohort.membership_digest(connection, [LUNG], query)
            search.search(connection, parse_query([("ModalitiesInStudy", "CT"), ("PatientID", "P*")], "study"))
    assert len(said) > 40
    for table in ("patients", "studies", "series"):
        locked = re.compile(rf"SELECT [^;]*FROM {table} \nWHERE [^;]* FOR UPDATE")
        assert any(locked.search(statement) for statement in said), table
    assert any("SKIP LOCKED" in statement for statement in said)
