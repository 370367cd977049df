"""A private PostgreSQL of the system's packages, for tests: one cluster for a test run, fresh databases for each test.

Without those packages, or where they do not start, a test that wants it is skipped, and the reason says why.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

from carina.storage.database import Role, open_engine, upgrade

_USER = "postgres"  # whom the server runs as when the tests are root's, for it refuses to run as root


def cluster() -> Path:
    """The folder of the socket of a server that runs until the end of the tests; started at the first call."""
    found = _started()
    if isinstance(found, str):
        pytest.skip(f"no PostgreSQL for tests: {found}")
    return found


def address_of(folder: Path, name: str) -> str:
    """SQLAlchemy's address of a database of the server whose socket is in `folder`."""
    return f"postgresql+psycopg://{_USER}@/{name}?host={folder}"


def create(folder: Path, name: str, role: Role | None = None) -> None:
    """A database with the tables of a role, or empty; nothing happens when there is one of this name."""
    template = "template0" if role is None else _template(folder, role)
    with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        _do(folder, f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")


def databases(folder: Path) -> list[str]:
    """The names of all databases that tests made."""
    return _do(folder, r"SELECT datname FROM pg_database WHERE datname LIKE 'carina\_%'")


def drop(folder: Path, names: Iterable[str]) -> None:
    """Remove these databases, whoever still uses them."""
    for name in names:
        _do(folder, f"DROP DATABASE {name} WITH (FORCE)")


def drop_all(folder: Path) -> None:
    """Remove all databases that tests made."""
    drop(folder, databases(folder))


@cache
def _template(folder: Path, role: Role) -> str:
    """A database with the tables of this role, made once by the migrations, to be copied."""
    name = f"template_{role}"
    with contextlib.suppress(psycopg.errors.DuplicateDatabase):
        _do(folder, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        engine = open_engine(address_of(folder, name))
        upgrade(engine, role)
        engine.dispose()
    return name


def _do(folder: Path, statement: str) -> list[Any]:
    with psycopg.connect(host=str(folder), user=_USER, dbname="postgres", autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return [row[0] for row in cursor] if cursor.description else []


@cache
def _started() -> Path | str:
    """The socket's folder, or why there is none."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        return "the package postgresql is not installed; `make setup` installs it on Debian"
    root = os.geteuid() == 0
    if root and not _known(_USER):
        return f"root cannot run it, and there is no user {_USER}"
    folder = Path(tempfile.mkdtemp(prefix="carina-pg-", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if root:
        shutil.chown(folder, _USER, _USER)
    made = [str(programs[-1]), "-D", str(folder / "data"), "-U", _USER, "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
    result = subprocess.run(_as_user(made, root), capture_output=True, text=True, cwd="/", check=False)
    if result.returncode:
        return f"initdb failed: {result.stderr.strip()[-200:]}"
    return _serve(programs[-1].with_name("postgres"), folder, root)


def _serve(program: Path, folder: Path, root: bool) -> Path | str:
    """Start the server on a socket in `folder` alone, and wait until it answers."""
    options = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off", "max_connections": "200"}
    command = [str(program), "-D", str(folder / "data")]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(_as_user(command, root), stdout=log, stderr=log, cwd="/")
    atexit.register(_end, server)
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(host=str(folder), user=_USER, dbname="postgres").close()
            return folder
        time.sleep(0.05)
    return f"the server did not start: {(folder / 'log').read_text(errors='replace').strip()[-200:]}"


def _as_user(command: list[str], root: bool) -> list[str]:
    """As `_USER` when the tests are root's, and ended with them however they end. `setpriv` becomes the command."""
    user = [f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"] if root else []
    return ["setpriv", *user, "--pdeathsig=QUIT", *command]


def _known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _end(server: subprocess.Popen[bytes]) -> None:
    """Let it go at once (SIGQUIT is `immediate`): nothing of it is kept."""
    if server.poll() is None:
        server.send_signal(signal.SIGQUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
