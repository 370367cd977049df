"""New records for tests: made once for each role by the migrations, then copied; on SQLite or on PostgreSQL.

A test runs on PostgreSQL, with all the processes that it starts, while the environment says so (`tests/conftest.py`).
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import Engine
from tests import postgres

from carina.storage.database import Role, open_engine, upgrade

ON_POSTGRESQL = "CARINA_TEST_POSTGRESQL"
"""Environment: the folder of the socket of a PostgreSQL that takes the place of SQLite files."""


def new_records(path: Path, role: Role) -> Engine:
    """The records at `path`; when there are none yet, empty ones as the migrations leave them."""
    if ON_POSTGRESQL in os.environ:
        return open_engine(in_place_of(path, role))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy(_template(role), path)
    return open_engine(path)


def in_place_of(path: Path, role: Role) -> str:
    """The address of the database that stands for the file `path`; made when there is none yet."""
    folder = Path(os.environ[ON_POSTGRESQL])
    name = f"carina_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:20]}"
    postgres.create(folder, name, role)
    return postgres.address_of(folder, name)


@cache
def _template(role: Role) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="carina-records-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    engine = open_engine(folder / f"{role}.sqlite")
    upgrade(engine, role)
    engine.dispose()
    return folder / f"{role}.sqlite"
