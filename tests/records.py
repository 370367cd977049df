"""New records for tests: made once for each role by the migrations, then copied."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from carina.storage.database import Role, open_engine, upgrade


def new_records(path: Path, role: Role) -> Engine:
    """The records at `path`; when there are none yet, empty ones as the migrations leave them."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy(_template(role), path)
    return open_engine(path)


@cache
def _template(role: Role) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="carina-records-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    engine = open_engine(folder / f"{role}.sqlite")
    upgrade(engine, role)
    engine.dispose()
    return folder / f"{role}.sqlite"
